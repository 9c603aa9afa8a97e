from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.mounts import daemon
from overlayfs_py.mounts.daemon import Until
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.mounts.children import Child


def facts_in(directory: Path) -> Callable[[Callable[[], None]], None]:
    """What a daemon does here: it says what it is once its mount would answer, and stays."""

    def serve(on_ready: Callable[[], None]) -> None:
        (directory / "before").write_text(str(Path.cwd()))
        on_ready()
        links = {int(fd.name): os.readlink(fd) for fd in _listed(Path("/proc/self/fd"))}
        shown = f"{os.getsid(0) == os.getpid()} {Path.cwd()} {links!r}"
        (directory / "facts").write_text(shown)
        signal.pause()

    return serve


def _listed(directory: Path) -> Iterator[Path]:
    return (path for path in list(directory.iterdir()) if path.is_symlink())


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(until: Until, *, keep_stderr: bool) -> Child:
        inherited = daemon.open_descriptors()
        kept, kept_writing = os.pipe()  # as a lease would be: opened for the mount
        child = daemon.start(facts_in(tmp_path), until, inherited, keep_stderr=keep_stderr)
        children.append(child)
        child.ready()
        os.close(kept)
        os.close(kept_writing)
        return child

    yield start
    for child in children:
        child.kill(signal.SIGKILL)
        child.wait()


@pytest.mark.parametrize("keep_stderr", [True, False])
@pytest.mark.parametrize("until", Until)
def test_a_daemon_lets_go_of_its_caller(
    tmp_path: Path, started: Callable[..., Child], until: Until, *, keep_stderr: bool
) -> None:
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)

    started(until, keep_stderr=keep_stderr)
    theirs.close()

    with ours:
        assert ours.recv(1) == b""  # the daemon has not got the other end
    facts = tmp_path / "facts"
    wait_until(lambda: facts.exists() and facts.read_text() != "", "its facts")
    leads_session, directory, links = (tmp_path / "facts").read_text().split(" ", 2)
    assert leads_session == "True"
    assert directory == "/"
    assert (tmp_path / "before").read_text() == str(Path.cwd())
    assert "socket:" not in links
    assert "pipe:" in links  # what was opened for the mount is the daemon's too
    standard = {0: "/dev/null", 1: "/dev/null"} | ({2: "/dev/null"} if not keep_stderr else {})
    for fd, name in standard.items():
        assert f"{fd}: {name!r}" in links


def test_a_daemon_ends_with_its_caller(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        try:
            child = daemon.start(facts_in(tmp_path), Until.CALLER_ENDS, daemon.open_descriptors())
            child.ready()
            (tmp_path / "pid").write_text(str(child.pid))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    served = int((tmp_path / "pid").read_text())

    wait_until(lambda: not _lives(served), "the daemon's end")


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
