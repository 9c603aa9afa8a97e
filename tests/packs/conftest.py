from __future__ import annotations

from tests.tars.conftest import tar_by, tree

__all__ = ["tar_by", "tree"]
