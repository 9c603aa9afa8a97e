"""Run a command on a stack of layers with an upper that is thrown away.

Plan: the caller's process becomes the supervisor and moves into a mount namespace of its own (and
a user namespace where it is not root). There it forks

- the keeper, just before that, which owns the scratch directory (scratch.py),
- the daemon, which serves the union on a mount that nobody outside can see,
- init, the first process of a pid namespace, which enters the mount and starts the command.

When the supervisor dies, the kernel kills init, and with it all that the command started; the
daemon unmounts and ends; the keeper sees that and removes the scratch directory. No step of that
needs the supervisor, so kill -9 ends like ^C.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.containers import signals, user_namespace
from overlayfs_py.containers.system_mounts import enter_root
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children, daemon
from overlayfs_py.mounts.scratch import scratch_directory
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.mounts.uppers import make_upper
from overlayfs_py.syscalls import mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.union.values import Volume

CANNOT_RUN = 126  # as env(1), chroot(1) and every shell
NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Run:
    """A command and where to run it. Host paths are bytes."""

    layers: tuple[bytes, ...]  # topmost first
    command: tuple[str, ...]
    environment: Mapping[str, str]  # all of it; PATH says where the command is looked for
    temporary: bytes  # where the scratch directory is made
    volumes: tuple[Volume, ...] = ()
    directory: str = "/"  # inside
    keep: bytes | None = None  # a directory whose `upper` and `work` are used and stay
    driver: str = "auto"
    callers_fds: frozenset[int] = frozenset()  # open before the layers were; not the daemon's


@dataclass(frozen=True, slots=True)
class _Places:
    upper: bytes
    work: bytes
    root: bytes  # where the union is mounted, in our mount namespace only


def run(asked: Run) -> int:
    """Run the command and return its exit status, 128 + n if signal n ended it.

    The calling process must have one thread. It is changed for good (namespaces, signal mask) and
    should exit.

    Raises:
        Failure: something else than the command failed; nothing is left behind.
        OSError: likewise, with the path it is about.
    """
    if not user_namespace.may_mount():
        user_namespace.enter()
    with scratch_directory(asked.temporary) as scratch:
        places = _lay_out(asked, scratch)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        # Ours are not seen outside, and what is unmounted outside goes away here.
        mounts.mount(None, b"/", None, mounts.MS_REC | mounts.MS_SLAVE)
        server = _start_daemon(asked, places)
        try:
            server.ready()
            return _run_command(asked, places, server)
        finally:
            server.kill(signal.SIGTERM)
            server.wait()


def _lay_out(asked: Run, scratch: bytes) -> _Places:
    home = asked.keep if asked.keep is not None else scratch
    with suppress(FileExistsError):
        os.mkdir(home)
    places = _Places(
        os.path.join(home, b"upper"), os.path.join(home, b"work"), os.path.join(scratch, b"root")
    )
    make_upper(places.upper, like=asked.layers[0])
    with suppress(FileExistsError):
        os.mkdir(places.work)
    os.mkdir(places.root)
    return places


def _start_daemon(asked: Run, places: _Places) -> Child:
    spec = stack_of(asked.layers)._replace(
        upper=places.upper,
        work=places.work,
        volumes=asked.volumes,
        volatile=asked.keep is None,
        # The kernel reads an upper with metacopies only if it is told to: not one that is kept.
        metacopy=asked.keep is None,
    )

    def serve(on_ready: Callable[[], None]) -> None:
        # Only here: trio and pyfuse3 take longer to load than everything before.
        from overlayfs_py.drivers import service

        service.serve(spec, MountPlan(places.root), driver=asked.driver, on_ready=on_ready)

    return daemon.start(serve, daemon.Until.CALLER_ENDS, asked.callers_fds)


def _run_command(asked: Run, places: _Places, server: Child) -> int:
    mask = signals.block()
    supervisor_fd = os.pidfd_open(os.getpid())
    namespaces.unshare(namespaces.CLONE_NEWPID)

    def be_init(report: Report) -> int:
        children.die_with(supervisor_fd, signal.SIGKILL)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        enter_root(places.root)
        _forget_host(report)
        _change_directory(asked.directory)
        command_pid = _fork_command(asked, mask, report)
        report.close()
        return signals.run_init(command_pid)

    init = children.start(be_init)
    os.close(supervisor_fd)
    init.word()
    return signals.supervise(init, server)


def _forget_host(report: Report) -> None:
    """Close what leads out of the container, and load no module from inside it."""
    assert report.fd is not None
    children.close_all_but(report.fd)
    sys.path.clear()


def _change_directory(directory: str) -> None:
    os.chdir(directory)


def _fork_command(asked: Run, mask: set[int], report: Report) -> int:
    pid = os.fork()
    if pid:
        return pid
    signals.restore_for_command(mask)
    try:
        os.execvpe(asked.command[0], asked.command, asked.environment)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
        report.failed(Failure(f"{asked.command[0]}: {error.strerror}", code))
        os._exit(code)
