"""pasta or slirp4netns for a container: what its network namespace reaches the world through.

The program runs in a pid namespace whose first process is ours and ends with the monitor: what the
program forks, and whatever ids it takes, the kernel ends it then.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import user_namespace
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import mounts
from overlayfs_py.syscalls.processes import fork_in_new_pid_namespace

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.mounts.children import Child, Report

_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_PASTA = "pasta"
_SLIRP = "slirp4netns"
_RESOLVERS = {_PASTA: "169.254.95.3", _SLIRP: "10.0.2.3"}
_PLACE = "network"  # in the container's directory: where the program finds the namespace
_START_S = 20.0  # a guess; it takes a tenth of a second


class Helper(NamedTuple):
    """A program that is installed."""

    name: str
    path: str

    @property
    def resolver(self) -> str:
        """The name server that it offers in the container: the host's, wherever that is."""
        return _RESOLVERS[self.name]


def find() -> Helper | None:
    """Return the better one of those that are installed."""
    for name in (_PASTA, _SLIRP):
        path = shutil.which(name, path=_SEARCH_PATH)
        if path is not None:
            return Helper(name, path)
    return None


def start(helper: Helper, namespace_fd: int, lock_fd: int, directory: Path) -> Child:
    """Connect a namespace; it is, when this returns, until the child ends.

    Raises:
        Failure: the program cannot do it here, with its reason.
    """
    monitor_fd = os.pidfd_open(os.getpid())
    place = os.fsencode(directory / _PLACE)

    def work(report: Report) -> None:
        children.die_with(monitor_fd, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir("/")
        children.take_null_stdio()
        assert report.fd is not None
        children.close_all_but(report.fd, namespace_fd, lock_fd)
        _show_namespace(namespace_fd, place)
        if helper.name == _PASTA:
            _run_pasta(helper, place)
        else:
            _run_slirp(helper, place)
        report.ready()
        with suppress(ChildProcessError):  # none is left
            while True:
                os.wait()

    child = children.start(work, fork=fork_in_new_pid_namespace)
    os.close(monitor_fd)
    child.ready()
    return child


def _show_namespace(namespace_fd: int, place: bytes) -> None:
    """Mount it where the program can open it: it may not look into processes of more rights."""
    user_namespace.part_mounts()
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    mounts.mount(b"/proc/self/fd/%d" % namespace_fd, place, None, mounts.MS_BIND)


def _run_pasta(helper: Helper, place: bytes) -> None:
    """It goes on in the background once it is ready."""
    said = os.memfd_create("pasta")
    argv: list[str | bytes] = [helper.path, "--config-net", "--quiet", "--runas", "0"]
    # The services on the host's loopback device are the host's own.
    argv += ["--no-map-gw", "--dns-forward", helper.resolver]
    argv += ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    argv += ["--no-netns-quit", "--netns", place]
    try:
        done = subprocess.run(
            argv, stdout=subprocess.DEVNULL, stderr=said, timeout=_START_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failure(helper, said) from None
    if done.returncode:
        raise _failure(helper, said)
    os.close(said)


def _run_slirp(helper: Helper, place: bytes) -> None:
    said = os.memfd_create("slirp4netns")
    ready_fd, its_fd = os.pipe()
    argv: list[str | bytes] = [helper.path, "--configure", "--mtu=65520"]
    argv += ["--disable-host-loopback", "--enable-sandbox", f"--ready-fd={its_fd}"]
    argv += ["--netns-type=path", place, "tap0"]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, pass_fds=(its_fd,)
    )
    os.close(its_fd)
    is_ready = os.read(ready_fd, 1)
    os.close(ready_fd)
    if not is_ready:
        process.wait()
        raise _failure(helper, said)
    os.close(said)


def _failure(helper: Helper, said: int) -> Failure:
    text = os.pread(said, 1 << 16, 0).decode(errors="replace")
    # Without a system's log pasta complains of that, too.
    lines = [line for line in text.splitlines() if line.strip() and "syslog" not in line]
    reason = lines[-1].strip() if lines else "it failed without a word"
    return Failure(f"--network private: {helper.name}: {reason}")
