from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tars.corpus import MAKERS, make_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the corpus's tars are made of."""
    root = tmp_path_factory.mktemp("tars") / "tree"
    make_tree(root)
    return root


@pytest.fixture(scope="session")
def tar_by(tree: Path) -> Iterator[Callable[[str], bytes]]:
    """Return the bytes of the tar that one of MAKERS makes; made once.

    Kept as files: 300 MB of memory would make every fork of the tests to come slower.
    """
    made: dict[str, Path] = {}

    def get(maker: str) -> bytes:
        if maker not in made:
            target = tree.with_name(f"made{len(made)}.tar")
            MAKERS[maker](tree, target)
            made[maker] = target
        return made[maker].read_bytes()

    yield get
    for path in made.values():
        path.unlink()
