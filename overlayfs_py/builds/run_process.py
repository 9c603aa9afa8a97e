"""The processes of a RUN step: its union, its mounts, its command, and the layer that comes of it.

Plan: the process of the step (`step_process`) becomes the supervisor of a container that is thrown
away, as in containers/throwaway.py, and makes the layer before the scratch directory goes.
"""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds import step_process
from overlayfs_py.builds.run_mounts import FileMount, HostMount, MemoryMount, MountPoints, TreeMount
from overlayfs_py.builds.step_layer import add_step_layer
from overlayfs_py.builds.step_process import RunResult
from overlayfs_py.containers import (
    init,
    keep_directory,
    name_files,
    network_namespace,
    signals,
    user_namespace,
)
from overlayfs_py.containers.changes import ContainerFiles
from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.containers.init import Container
from overlayfs_py.containers.name_files import Names
from overlayfs_py.containers.rights import Rights
from overlayfs_py.containers.supervision import supervise
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.mounts import children, daemon
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.mounts.uppers import throwaway_upper
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store.stacks import Placed
from overlayfs_py.syscalls import mounts
from overlayfs_py.syscalls.processes import fork_in_new_pid_namespace
from overlayfs_py.union.values import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from overlayfs_py.builds.run_mounts import RunMount
    from overlayfs_py.containers.image_files import Path as ImagePath
    from overlayfs_py.containers.keep_directory import UpperPlace
    from overlayfs_py.containers.process import Process
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.union.values import StackSpec

HOSTNAME = "buildkitsandbox"  # BuildKit's, which programs write into what they build


class RunSpec(Struct, frozen=True):
    """A command, and what it runs on."""

    layers: tuple[StoredLayer, ...]  # lowest first
    lower: tuple[bytes, ...]  # the same as a mount takes them, topmost first
    process: Process
    mounts: tuple[RunMount, ...]
    has_network: bool
    latest_ns: int | None  # times that the command makes are not later
    scratch_base: bytes  # on the store's own filesystem
    keep_failed: bytes | None  # where to leave the upper of a command that fails


def run(spec: RunSpec, addition: Addition) -> RunResult:
    """Run a command, its output going to this process's own, and make a layer of its changes.

    The calling process must have one thread, and may mount.

    Raises:
        Failure: something else than the command failed; nothing is left behind.
    """
    return step_process.run(spec.scratch_base, lambda scratch: _do(spec, addition, scratch))


class _Places(NamedTuple):
    changes: UpperPlace
    home: bytes  # `upper` and `work`, and `files` as a container's directory has them
    files: bytes  # where `name_files` has written
    bottom: bytes  # a layer below all others
    root: bytes  # where the union is mounted, in our mount namespace only


def _do(spec: RunSpec, addition: Addition, scratch: bytes) -> RunResult:
    user_namespace.part_mounts()
    places = _lay_out(spec, scratch)
    step = _Step(spec, places, scratch)
    status = step.run()
    layer = None
    if not status:
        layer = step.commit(addition)
    elif spec.keep_failed is not None:
        os.makedirs(spec.keep_failed, 0o700)
        for name in (b"upper", b"work"):
            os.rename(os.path.join(places.home, name), os.path.join(spec.keep_failed, name))
    return RunResult(status, layer)


def _lay_out(spec: RunSpec, scratch: bytes) -> _Places:
    home = os.path.join(scratch, b"home")
    changes = keep_directory.lay_out(home, like=spec.lower[0])
    files = os.path.join(home, b"files")
    root = os.path.join(scratch, b"root")
    for path in (files, root):
        os.mkdir(path)
    # Not the host's: what is built depends on no machine.
    names = Names(is_hosts_own=False)
    return _Places(changes, home, files, name_files.write(files, HOSTNAME, names), root)


class _Step:
    def __init__(self, spec: RunSpec, places: _Places, scratch: bytes) -> None:
        self._spec = spec
        self._places = places
        self._scratch = scratch
        self._targets: list[ImagePath] = []

    def run(self) -> int:
        """Return the command's exit status, 128 + n if signal n ended it."""
        with ExitStack() as stack:
            volumes = [self._volume(n, each, stack) for n, each in enumerate(self._spec.mounts)]
            self._make_mount_points()
            server = stack.enter_context(_served(self._stack(), self._places.root))
            # An outer one before those inside it.
            volumes.sort(key=lambda volume: volume.target.count(b"/"))
            return self._run_command(server, tuple(volumes))

    def commit(self, addition: Addition) -> Digest:
        """Make a layer of what the command has changed."""
        directory = Path(os.fsdecode(self._places.home))
        placed = Placed(directory / "upper", ())
        with ContainerFiles(directory, placed, self._spec.layers) as files:
            latest_ns, left_out = self._spec.latest_ns, self._targets
            return add_step_layer(addition, files, latest_ns, left_out=left_out).diff_id

    def _stack(self) -> StackSpec:
        # Nobody mounts it again: a crash of the machine may take what was never synced.
        return stack_of((*self._spec.lower, self._places.bottom))._replace(
            upper=self._places.changes.upper,
            work=self._places.changes.work,
            volatile=True,
            metacopy=True,
        )

    def _make_mount_points(self) -> None:
        with ImageFiles(self._spec.layers, below=[self._places.bottom]) as image:
            points = MountPoints(image, self._places.bottom)
            for each in sorted(self._spec.mounts, key=lambda mount: mount.target.count(b"/")):
                is_file = isinstance(each, FileMount) or (
                    isinstance(each, HostMount | TreeMount) and self._shows_file(each)
                )
                self._targets.append(points.prepare(each.target, is_file=is_file))

    def _shows_file(self, mount: HostMount | TreeMount) -> bool:
        if isinstance(mount, HostMount):
            return not os.path.isdir(mount.source)
        return not os.path.isdir(self._tree_source(self._spec.mounts.index(mount), mount))

    def _volume(self, number: int, mount: RunMount, stack: ExitStack) -> Volume:
        """Have something to show at the mount's place, at a path of this mount namespace."""
        own = os.path.join(self._scratch, b"mount-%d" % number)
        match mount:
            case HostMount():
                return Volume(mount.source, mount.target, mount.read_only)
            case TreeMount():
                self._serve_tree(own, mount, stack)
                return Volume(self._tree_source(number, mount), mount.target, mount.read_only)
            case MemoryMount():
                os.mkdir(own)
                options = b"mode=1777" + (b",size=" + mount.size.encode() if mount.size else b"")
                mounts.mount(b"tmpfs", own, b"tmpfs", mounts.MS_NOSUID, options)
                return Volume(own, mount.target, read_only=False)
            case FileMount():
                return Volume(_write_file(own, mount), mount.target, read_only=True)

    def _serve_tree(self, own: bytes, mount: TreeMount, stack: ExitStack) -> None:
        os.mkdir(own)
        spec = stack_of(mount.lower)
        if not mount.read_only:
            changes = own + b"-changes"
            os.mkdir(changes)
            spec = throwaway_upper(spec, changes)
        stack.enter_context(_served(spec, own))

    def _tree_source(self, number: int, mount: TreeMount) -> bytes:
        """The path of what is shown: links were followed where it was chosen, inside the layers."""
        own = os.path.join(self._scratch, b"mount-%d" % number)
        return os.path.normpath(os.path.join(own, mount.source.lstrip(b"/")))

    def _run_command(self, server: Child, volumes: Sequence[Volume]) -> int:
        take_no_input()
        mask = signals.block()
        own_fd = os.pidfd_open(os.getpid())
        network_fd = None if self._spec.has_network else network_namespace.make(())
        container = Container(
            self._places.root,
            self._places.files,
            self._spec.process,
            HOSTNAME,
            Rights.of_step(),
            files=tuple(volumes),
            is_first=True,  # as in a container: `$$` is 1
            network_fd=network_fd,
        )

        def be_init(report: Report) -> int:
            children.die_with(own_fd, signal.SIGKILL)
            return init.run(container, mask, report)

        child = children.start(be_init, fork=fork_in_new_pid_namespace)
        os.close(own_fd)
        child.word()
        return supervise(child, server, None)


@contextmanager
def _served(spec: StackSpec, target: bytes) -> Iterator[Child]:
    """Mount a union, served by a process of its own."""
    plan = MountPlan(target, dev=False, shares_upper=False)

    def serve(on_ready: Callable[[], None]) -> None:
        # Only here: trio and pyfuse3 take longer to load than everything before.
        from overlayfs_py.drivers import service

        service.serve(spec, plan, driver="auto", on_ready=on_ready)

    server = daemon.start(serve, daemon.Until.CALLER_ENDS, daemon.open_descriptors())
    try:
        server.ready()
        yield server
    finally:
        server.stop()


def take_no_input() -> None:
    """Read nothing from stdin."""
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.close(null_fd)


def _write_file(path: bytes, mount: FileMount) -> bytes:
    """In memory: what is secret never comes to a disk."""
    os.mkdir(path)
    mounts.mount(b"tmpfs", path, b"tmpfs", mounts.MS_NOSUID, b"mode=700")
    file = os.path.join(path, b"file")
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as out:
        out.write(mount.content)
        os.fchown(fd, mount.uid, mount.gid)
        os.fchmod(fd, mount.mode)
    return file


def failed_place(builds: Path) -> Path:
    """A new place for the upper of a command that failed."""
    return builds / "failed" / secrets.token_hex(4)
