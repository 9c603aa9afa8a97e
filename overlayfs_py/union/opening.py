"""The union of a specification, of the kind that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.union.core import Union

if TYPE_CHECKING:
    from overlayfs_py.union.values import StackSpec


def open_union(spec: StackSpec) -> Union:
    """Return the union of a specification: one that keeps to a limit where there is one.

    Raises:
        OSError: see `Union`.
    """
    if spec.upper is None or spec.upper_limit is None:
        return Union(spec)
    from overlayfs_py.union.limited import LimitedUnion  # for those mounts alone

    return LimitedUnion(spec)
