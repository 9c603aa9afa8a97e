from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tars.corpus import MAKERS, make_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the corpus's tars are made of."""
    root = tmp_path_factory.mktemp("tars") / "tree"
    make_tree(root)
    return root


@pytest.fixture(scope="session")
def tar_by(tree: Path) -> Callable[[str], bytes]:
    """Return the bytes of the tar that one of MAKERS makes; made once."""
    made: dict[str, bytes] = {}

    def get(maker: str) -> bytes:
        if maker not in made:
            target = tree.with_name("made.tar")
            MAKERS[maker](tree, target)
            made[maker] = target.read_bytes()
            target.unlink()
        return made[maker]

    return get
