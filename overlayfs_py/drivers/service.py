"""Open a union, mount it, serve it until somebody unmounts it."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import resource
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from overlayfs_py.drivers import mountinfo, mounting
from overlayfs_py.drivers.early_signals import noted_signals
from overlayfs_py.drivers.garbage import collected_briefly
from overlayfs_py.drivers.idle_polling import Wakefulness
from overlayfs_py.errors import UpperInUse
from overlayfs_py.union.core import Union
from overlayfs_py.union.opening import open_union
from overlayfs_py.union.values import view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from overlayfs_py.drivers.mounting import Mounted, MountPlan
    from overlayfs_py.union.values import StackSpec

# By name, the module of each driver, imported when used: each needs things that the other does not.
_DRIVERS = {
    "direct": "overlayfs_py.drivers.direct_driver",
    "pyfuse3": "overlayfs_py.drivers.pyfuse3_driver",
}
_AUTO = "direct"
# How long a mount whose upper is in use waits for the other daemon to end, after umount(8).
_ENDING_S = 1.0
_ASKED_EVERY_S = 0.01
# Guess: how long a request may have to wait for a thread beside the loop (one that reads a pack,
# that copies a file) to let go of the interpreter; 5 ms by default, several times a request.
_SWITCH_S = 0.0005

log = logging.getLogger(__name__)


class Driver(Protocol):
    """The module of a driver."""

    def run(
        self, union: Union, mounted: Mounted, on_ready: Callable[[], None], noted: Collection[int]
    ) -> None:
        """Answer requests on `mounted.fd`, then close it.

        Returns once the mount is gone, or a signal asked to leave and it is unmounted: those in
        `noted` came before it could be heard. Calls `on_ready` from a thread, once the mount
        answers.
        """


def serve(
    spec: StackSpec, mount: MountPlan, *, driver: str = "auto", on_ready: Callable[[], None]
) -> None:
    """Serve `spec` at `mount.target` until it is unmounted, or SIGTERM, SIGINT or SIGHUP arrives.

    To be called in the main thread, of which the signals are. `on_ready` is called once, in
    another thread, when the mount answers. Meanwhile the process's umask is 0, and its limit of
    open files as high as it may be.

    Raises:
        OSError: a layer cannot be opened, the mount fails, or the driver cannot be loaded; EBUSY,
            the upper is in use, and `mount` does not share it.
        ValueError: there is no such driver.
    """
    chosen = _load(driver)
    # The union first: a layer that contains the mount point must not show what is mounted there.
    with (
        _many_open_files(),
        collected_briefly(),
        _quick_turns(),
        closing(_open(spec, mount)) as union,
        closing(Wakefulness(mount.idle_polling)) as wakefulness,
        noted_signals() as noted,
    ):
        mounted = mounting.mount(_enforce_read_only(mount, union.spec), wakefulness)
        try:
            _require_apart(union.spec, mounted)
            union.tell_reads(mounted.uses.read)
            chosen.run(union, mounted, on_ready, noted)
        except BaseException:
            # After a return it is gone already, and the kernel may have given the number that
            # it had to another mount at the same place.
            mounted.unmount()
            raise
        mounted.unmount_if_dead()
        if mount.uses_fd is not None:
            from overlayfs_py.drivers.written_uses import add_to_file

            add_to_file(mount.uses_fd, mounted.uses)


def _open(spec: StackSpec, mount: MountPlan) -> Union:
    """Open the union; of an upper that another mount writes to, one that only shows it.

    Two writers would each keep in the kernel's caches what the other has changed. The other mount
    may be about to end, since umount(8) returns before its daemon does.
    """
    if mount.noatime or mount.read_only:
        spec = spec._replace(noatime=True)
    deadline = time.monotonic() + (0 if mount.read_only else _ENDING_S)
    while True:
        try:
            return open_union(spec)
        except UpperInUse as error:
            if not mount.shares_upper or _is_mounted(mount.target):
                raise
            if time.monotonic() >= deadline:
                if not mount.read_only:
                    log.warning("%s: read-only, since another mount uses it", _name_of(error))
                return Union(view_of(spec))
        time.sleep(_ASKED_EVERY_S)


def _is_mounted(target: bytes) -> bool:
    """Whether a mount of FUSE is there: one more on top would hide the one that can be written."""
    listed = mountinfo.topmost(os.path.realpath(target))
    return listed is not None and listed.kind.startswith(b"fuse.")


def _name_of(error: OSError) -> str:
    return os.fsdecode(error.filename)


def _load(driver: str) -> Driver:
    name = _AUTO if driver == "auto" else driver
    if name not in _DRIVERS:
        raise ValueError(f"no driver {name!r}; there are auto, {', '.join(_DRIVERS)}")
    try:
        return cast("Driver", importlib.import_module(_DRIVERS[name]))
    except ImportError as error:
        # Of a C library, maybe, that it was built with and that is gone.
        from overlayfs_py.drivers import pyfuse3_install

        advice = f"; install it: {pyfuse3_install.HOW}" if name == "pyfuse3" else ""
        reason = f"cannot be loaded ({error}){advice}"
        raise OSError(errno.ENOPKG, reason, f"driver {name}") from error


def _enforce_read_only(mount: MountPlan, spec: StackSpec) -> MountPlan:
    """Mount read-only what nobody can write: the kernel then says so, to access(2) too."""
    writable = spec.upper is not None or any(not volume.read_only for volume in spec.volumes)
    return mount if writable else mount._replace(read_only=True)


def _require_apart(spec: StackSpec, mounted: Mounted) -> None:
    """Refuse a mount point where the union would find itself and wait for its own answer.

    Layers and volumes are clones of their mounts, in which ours never appears. The upper may be
    none (`layers.root.clone_around`), and without the right to mount nothing is.
    """
    entered = [] if spec.upper is None else [spec.upper]
    if not mounted.by_ourselves:
        entered += [*spec.lower, *(volume.source for volume in spec.volumes)]
    for path in entered:
        if os.path.commonpath([os.path.realpath(path), mounted.target]) == os.path.realpath(path):
            os.close(mounted.fd)
            raise OSError(errno.EINVAL, f"the mount point lies inside {path!r}", mounted.target)


@contextmanager
def _quick_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _many_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The union keeps directories of every layer open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
