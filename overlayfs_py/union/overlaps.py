"""Refusing a stack whose directories are one another, or lie in one another.

What is written to the upper or thrown away from the workdir would be a layer's at the same time,
and layers never change. The rules are the kernel's (fs/overlayfs/super.c, ovl_workdir_ok,
ovl_setup_trap, ovl_check_layer): an upper or a workdir may lie in a layer, which is how a root
filesystem is overlaid with a directory of its own.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.layers.location import Location, Locations
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.union.values import StackSpec


class _Place(NamedTuple):
    option: str
    path: bytes


def require_apart(spec: StackSpec) -> None:
    """Refuse a stack that overlaps itself; packs are files, and cannot.

    Raises:
        OSError: naming the option and its directory. EINVAL where upper and workdir overlap,
            ELOOP where a layer is, or lies in, the upper, the workdir or another layer. ENOENT
            where there is no such directory.
    """
    locations = Locations()
    taken: dict[Location, _Place] = {}
    if spec.upper is not None and spec.work is not None:
        upper = _Place("upperdir", spec.upper)
        work = _Place("workdir", spec.work)
        at_upper, at_work = _location(locations, upper), _location(locations, work)
        _require_distinct(upper, at_upper, work, at_work)
        taken = {at_upper: upper, at_work: work}
    layers = [_Place("lowerdir", path) for path in (*spec.lower, *spec.data_only)]
    places = [(_location(locations, layer), layer) for layer in layers if os.path.isdir(layer.path)]
    for location, layer in places:
        if location in taken:
            raise _refusal(errno.ELOOP, layer, "is the same as", taken[location])
        taken[location] = layer
    for location, layer in places:
        for above in location.above():
            if above in taken:
                raise _refusal(errno.ELOOP, layer, "lies in", taken[above])


def _require_distinct(upper: _Place, at_upper: Location, work: _Place, at_work: Location) -> None:
    if at_work == at_upper:
        raise _refusal(errno.EINVAL, work, "is the same as", upper)
    if at_upper in at_work.above():
        raise _refusal(errno.EINVAL, work, "lies in", upper)
    if at_work in at_upper.above():
        raise _refusal(errno.EINVAL, upper, "lies in", work)


def _location(locations: Locations, place: _Place) -> Location:
    with about(*place):
        return locations.of(place.path)


@contextmanager
def about(option: str, path: bytes) -> Iterator[None]:
    """Let an error about a directory name the option that gave it."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, path) or isinstance(error.filename, int):
            error.filename = named(option, path)
        raise


def _refusal(number: int, inner: _Place, how: str, outer: _Place) -> OSError:
    return OSError(number, f"it {how} {os.fsdecode(named(*outer))}", named(*inner))


def named(option: str, path: bytes) -> bytes:
    """Return a path as the option that gives it, for a person who wrote several."""
    return option.encode() + b"=" + path
