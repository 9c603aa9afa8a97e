from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return Store.open(root)
