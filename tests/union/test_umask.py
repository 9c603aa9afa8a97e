from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.union.core import Union
from overlayfs_py.union.values import StackSpec

if TYPE_CHECKING:
    from pathlib import Path


def test_unions_that_are_closed_in_any_order_leave_the_umask_as_it_was(tmp_path: Path) -> None:
    own = os.umask(0o027)
    try:
        first = Union(StackSpec((os.fsencode(tmp_path),)))
        second = Union(StackSpec((os.fsencode(tmp_path),)))
        first.close()
        between = os.umask(0)
        second.close()
        after = os.umask(own)
    finally:
        os.umask(own)

    assert between == 0
    assert after == 0o027
