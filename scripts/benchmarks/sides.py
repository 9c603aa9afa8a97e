"""The filesystems that are compared, and how each is mounted. A new variant is one more line."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks import images, mounts
from scripts.benchmarks.mounts import Place
from scripts.benchmarks.processes import FailedError, run
from scripts.benchmarks.stacks import copy_merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.benchmarks.mounts import Daemon
    from scripts.benchmarks.stacks import Stack

NEWER_FUSE_OVERLAYFS = Path("/var/cache/overlayfs-py/fuse-overlayfs-2/bin/fuse-overlayfs")

KERNEL = "kernel"
FUSE_OVERLAYFS = "fuse-overlayfs"
DIRECT = "direct"
PACKS = "direct+packs"

# Given in full: the defaults come from the kernel's build, and change what rename and chown do.
_KERNEL_OPTIONS = "redirect_dir=on,index=off,metacopy=off"

Words = list[str | Path]


@dataclass(frozen=True, slots=True)
class Side:
    """A filesystem to be measured."""

    name: str
    title: str
    # What to run in the foreground, or for kernel overlayfs just to run; None: a plain directory.
    command: Callable[[Place], Words] | None
    background: Callable[[Place], Words] | None = None  # what returns when the mount answers
    has_daemon: bool = True
    counts_messages: bool = False
    by_default: bool = True
    is_read_only: bool = False  # it takes part only where nothing is written
    spares_reads: bool = False  # where it has no upper, this variant is asked for no data

    @contextmanager
    def mounted(self, place: Place) -> Iterator[Daemon | None]:
        """Mount at a place while inside."""
        if self.command is None:
            copy_merged(place.stack, place.target)
            yield None
        elif self.has_daemon:
            with mounts.serving(self.command(place), place) as daemon:
                yield daemon
        else:
            run(self.command(place))
            try:
                yield None
            finally:
                mounts.unmount(place.target)

    def missing(self, stack: Stack, base: Path) -> str | None:
        """Return why this machine does not have it; None where it does."""
        place = Place(base, stack, is_read_only=self.spares_reads or self.is_read_only)
        place.make()
        try:
            with self.mounted(place) as daemon:
                if self.spares_reads:
                    (place.target / next(filter(stack.size, stack.files))).read_bytes()
                elif not self.is_read_only:
                    (place.target / "probe").write_text("probe")
                return None if daemon is None else self._shortfall(daemon)
        except (FailedError, OSError) as error:
            return str(error)
        finally:
            mounts.remove(place)

    def _shortfall(self, daemon: Daemon) -> str | None:
        """Return in what way a daemon of ours is not the variant that was asked for."""
        if self.counts_messages and "unknown option" in daemon.words:
            return daemon.words.strip()
        if self.spares_reads and daemon.report().messages["read"]:
            return "it is mounted, and still sends read"
        return None


def _kernel(name: str, title: str, options: str, *, by_default: bool = True) -> Side:
    def command(place: Place) -> Words:
        chosen = f"{place.overlay_options()},{options}"
        return ["mount", "-t", "overlay", "overlay", "-o", chosen, place.target]

    return Side(name, title, command, command, has_daemon=False, by_default=by_default)


def _program(name: str, title: str, program: str | Path) -> Side:
    def background(place: Place) -> Words:
        return [program, "-o", place.overlay_options(), place.target]

    def command(place: Place) -> Words:
        return [program, "-f", "-o", place.overlay_options(), place.target]

    return Side(name, title, command, background)


def _unionfs() -> Side:
    def command(place: Place) -> Words:
        lower = ":".join(f"{layer}=RO" for layer in place.stack.layers)
        branches = lower if place.is_read_only else f"{place.upper}=RW:{lower}"
        options = "cow,allow_other,default_permissions,use_ino,suid,dev"
        return ["unionfs", "-f", "-o", options, branches, place.target]

    def background(place: Place) -> Words:
        return [word for word in command(place) if word != "-f"]

    return Side("unionfs", "unionfs-fuse", command, background)


def _ours(name: str, title: str, driver: str, *options: str) -> Side:
    def background(place: Place) -> Words:
        chosen = ",".join((place.overlay_options(), *options))
        return [images.OURS, "mount", "--driver", driver, "-o", chosen, place.target]

    def command(place: Place) -> Words:
        return [*background(place), "--foreground"]

    return Side(name, title, command, background, counts_messages=driver == DIRECT)


def _variant(name: str, option: str) -> Side:
    """Our direct driver with one option more."""
    side = _ours(f"{DIRECT}+{name}", f"direct, {option}", DIRECT, option)
    return replace(side, by_default=False)


def _packs() -> Side:
    """Our direct driver over packs."""

    def background(place: Place) -> Words:
        packs = ":".join(str(images.image_of(layer, "pack")) for layer in place.stack.layers)
        options = place.overlay_options().replace(place.lower_option(), f"lowerdir={packs}")
        return [images.OURS, "mount", "--driver", DIRECT, "-o", options, place.target]

    def command(place: Place) -> Words:
        return [*background(place), "--foreground"]

    name, title = PACKS, "direct, over packs"
    return Side(name, title, command, background, counts_messages=True, by_default=False)


def _image(kind: str, *program: str) -> Side:
    """A filesystem of the kernel, or of a FUSE program, that is one file."""

    def command(place: Place) -> Words:
        image = images.image_of(place.stack.merged, kind)
        if program:
            return [*program, image, place.target]
        return ["mount", "-t", kind, "-o", "loop,ro", image, place.target]

    name, title = (program[0], program[0]) if program else (kind, f"kernel {kind}, lz4")
    return Side(
        name, title, command, command, has_daemon=bool(program), by_default=False, is_read_only=True
    )


SIDES = {
    side.name: side
    for side in (
        _kernel(KERNEL, "kernel overlayfs", _KERNEL_OPTIONS),
        _kernel(
            "kernel+metacopy",
            "kernel overlayfs, metacopy=on",
            _KERNEL_OPTIONS.replace("metacopy=off", "metacopy=on"),
            by_default=False,
        ),
        _program(FUSE_OVERLAYFS, "fuse-overlayfs (installed)", "fuse-overlayfs"),
        _program("fuse-overlayfs-2", "fuse-overlayfs 2.0", NEWER_FUSE_OVERLAYFS),
        _unionfs(),
        Side("plain", "plain directory", None, has_daemon=False),
        _ours(DIRECT, "overlayfs-py, direct", DIRECT),
        _ours("pyfuse3", "overlayfs-py, pyfuse3", "pyfuse3"),
        replace(_variant("passthrough", "io=passthrough"), by_default=True, spares_reads=True),
        _variant("metacopy", "metacopy=on"),
        _variant("volatile", "volatile"),
        _variant("halting", "idlepoll=off"),
        _packs(),
        _image("squashfs"),
        _image("erofs"),
        _image("squashfs", "squashfuse", "-f", "-o", "dev,suid"),
    )
}
