"""The filesystems that the table of checks runs over."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.mounts import mount, umount
from tests.posix.departures import (
    KERNEL,
    PYFUSE3,
    PYFUSE3_LACKS,
    UNSETTLED,
    WRITEBACK,
    WRITEBACK_LACKS,
    Departure,
)
from tests.posix.prepared import Placement, build_merged, build_visible
from tests.support import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tests.posix.registry import Check, Need

    Mounter = Callable[[Path, list[Path]], AbstractContextManager[mounts.Mounted]]


@dataclass(frozen=True, slots=True)
class Side:
    """One filesystem under test."""

    name: str
    mount: Mounter
    placements: tuple[Placement, ...]
    departures: Mapping[str, Departure]
    lacks: Mapping[Need, Departure]

    def settles(self, check: Check, placement: Placement) -> bool:
        """Whether the check has one outcome here."""
        is_ours = self.name not in ("plain", "kernel")
        return not (is_ours and check.name in UNSETTLED and placement is not Placement.UPPER)

    def departure(self, check: Check, placement: Placement) -> Departure | None:
        """Return how the check must fail here, if it must."""
        if check.needs in self.lacks:
            return self.lacks[check.needs]
        found = self.departures.get(check.name)
        return found if found and placement in found.placements else None


def _plain(base: Path, _lowers: list[Path]) -> AbstractContextManager[mounts.Mounted]:
    return mounts.plain(base)


_EVERYWHERE = tuple(Placement)
_IN_LAYERS = (Placement.LOWER, Placement.MERGED)
SIDES = {
    side.name: side
    for side in (
        Side("plain", _plain, (Placement.UPPER,), {}, {}),
        Side("kernel", mounts.kernel_overlay, _EVERYWHERE, KERNEL, {}),
        Side(
            "pyfuse3", partial(mounts.ours, driver="pyfuse3"), _EVERYWHERE, PYFUSE3, PYFUSE3_LACKS
        ),
        Side("direct", partial(mounts.ours, driver="direct"), _EVERYWHERE, {}, {}),
        Side(
            "metacopy",
            partial(mounts.ours, driver="direct", options=("metacopy=on",)),
            _IN_LAYERS,
            {},
            {},
        ),
        Side(
            "writeback",
            partial(mounts.ours, driver="direct", options=("writeback=1",)),
            (Placement.UPPER, Placement.LOWER),
            WRITEBACK,
            WRITEBACK_LACKS,
        ),
        Side(
            "passthrough",
            partial(mounts.ours, driver="direct", options=("io=passthrough",)),
            _EVERYWHERE,
            {},
            {},
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Layers:
    """Two layers that hold a prepared tree per check, below the name of its placement."""

    base: Path
    top: Path
    bottom: Path


class MountedSides:
    """Each side's mount, made when first asked for and kept until the end."""

    def __init__(self, layers: Layers, at_end: ExitStack) -> None:
        self._layers = layers
        self._at_end = at_end
        self._roots: dict[str, Path] = {}
        self._failures: dict[str, Exception] = {}

    def root(self, side: Side) -> Path:
        """Return where `side` is mounted; a failure to mount it is remembered."""
        if side.name in self._failures:
            raise RuntimeError(f"{side.name} does not mount") from self._failures[side.name]
        if side.name not in self._roots:
            try:
                self._roots[side.name] = self._mount(side)
            except (OSError, AssertionError) as error:
                self._failures[side.name] = error
                raise
        return self._roots[side.name]

    def _mount(self, side: Side) -> Path:
        base = self._layers.base / side.name
        base.mkdir()
        lowers = [self._layers.top, self._layers.bottom]
        mounted = self._at_end.enter_context(side.mount(base, lowers))
        (mounted.root / Placement.UPPER.value).mkdir()
        return mounted.root


@contextmanager
def layers(checks: Iterable[Check]) -> Iterator[Layers]:
    """Make the layers for these checks; removed at the end."""
    # Not pytest's own directory, which other users must not enter.
    with tempfile.TemporaryDirectory(prefix="overlayfs-py-posix-") as name:
        base = Path(name)
        with _in_memory(base):
            base.chmod(0o755)
            made = Layers(base, base / "top", base / "bottom")
            for check in checks:
                build_visible(made.bottom / Placement.LOWER.value / check.name, check.extra)
                merged = Path(Placement.MERGED.value, check.name)
                build_merged(made.top / merged, made.bottom / merged, check.extra)
            yield made


@contextmanager
def _in_memory(base: Path) -> Iterator[None]:
    """Put a tmpfs on `base` while inside, where it has all that is needed (user xattrs: 6.6).

    The hundred thousand objects of all prepared trees come and go seven times faster than on ext4.
    """
    target = os.fsencode(base)
    mount(b"tmpfs", target, b"tmpfs", 0, b"mode=755,size=4g,nr_inodes=2m")
    try:
        os.setxattr(base, "user.probe", b"")
        os.removexattr(base, "user.probe")
    except OSError as error:
        umount(target)
        if error.errno != errno.EOPNOTSUPP:
            raise
        yield
        return
    try:
        yield
    finally:
        umount(target)
