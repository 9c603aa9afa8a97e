"""Another, empty upper under a mount in use: what the kernel remembers, and what is open."""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import mounting
from overlayfs_py.syscalls import mounts
from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 20


class Mount:
    """A mount whose daemon has a door."""

    def __init__(self, stack: Stack, door: socket.socket, pid: int) -> None:
        self.stack = stack
        self.pid = pid
        self.target = stack.target
        self._door = door
        self._count = 0

    def ask(self, request: dict[str, object]) -> dict[str, str]:
        self._door.send(json.dumps(request).encode())
        answer: dict[str, str] = json.loads(self._door.recv(1 << 16))
        return answer

    def messages(self) -> int:
        """How many calls of read(2) and write(2) the daemon has made, those by iovecs too."""
        lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        told = dict(line.split(": ") for line in lines)
        return int(told["syscr"]) + int(told["syscw"])

    def reset(self, *kept: str) -> None:
        self._count += 1
        fresh = self.stack.base / f"fresh{self._count}"
        for name in ("upper", "work"):
            (fresh / name).mkdir(parents=True)
        places = {name: str(fresh / name) for name in ("upper", "work")}
        answer = self.ask({"do": "reset", **places, "kept": kept, "layers": None})
        assert answer == {}


@pytest.fixture
def stack(scratch: Path) -> Stack:
    made = Stack(scratch)
    (made.lower / "d").mkdir()
    for name in ("kept", "changed", "deleted"):
        (made.lower / "d" / name).write_text(name)
    (made.lower / "e").mkdir()
    return made


@pytest.fixture
def mount(stack: Stack) -> Iterator[Mount]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_TIMEOUT_S)
    plan = stack.plan._replace(door_fd=theirs.fileno())
    with serving(stack.spec, plan, driver="direct") as daemon:
        theirs.close()
        yield Mount(stack, ours, daemon.process.pid)
    ours.close()


def error_of(call: object, *arguments: object) -> int | None:
    try:
        call(*arguments)  # type: ignore[operator]
    except OSError as error:
        return error.errno
    return None


def test_what_was_remembered_is_forgotten(mount: Mount) -> None:
    d = mount.target / "d"
    (d / "changed").write_text("longer than before")
    (d / "deleted").unlink()
    assert not (d / "deleted").exists()  # which the kernel remembers, too
    (d / "made").write_text("made")
    (mount.target / "new").mkdir()
    assert sorted(os.listdir(d)) == ["changed", "kept", "made"]
    assert (d / "changed").read_text() == "longer than before"

    mount.reset()

    # By name first: a listing brings the kernel's names up to date.
    assert (d / "deleted").read_text() == "deleted"
    assert not (d / "made").exists()
    assert not (mount.target / "new").exists()
    assert sorted(os.listdir(d)) == ["changed", "deleted", "kept"]
    assert (d / "changed").stat().st_size == len("changed")
    assert {name: (d / name).read_text() for name in os.listdir(d)} == {
        name: name for name in ("kept", "changed", "deleted")
    }
    assert error_of(os.stat, d / "made") == errno.ENOENT
    assert sorted(os.listdir(mount.target)) == ["d", "e"]
    assert d.stat().st_mtime_ns == (mount.stack.lower / "d").stat().st_mtime_ns


def test_open_files(mount: Mount) -> None:
    d = mount.target / "d"
    (d / "made").write_text("made")
    (d / "changed").write_text("new")
    fds = {
        name: os.open(d / name, os.O_RDWR if name != "kept" else os.O_RDONLY)
        for name in ("made", "changed", "kept")
    }
    for fd in fds.values():
        os.read(fd, 100)  # so that its data is cached
    inner = os.open(d, os.O_RDONLY)

    mount.reset()

    assert os.pread(fds["kept"], 10, 0) == b"kept"
    for name in ("made", "changed"):
        assert error_of(os.pread, fds[name], 10, 0) == errno.ESTALE
        assert error_of(os.pwrite, fds[name], b"bad", 0) == errno.ESTALE
        assert error_of(os.fstat, fds[name]) == errno.ESTALE
    assert (d / "changed").read_text() == "changed"
    # While it is open, that is another file; and a descriptor of the directory is good.
    assert os.stat("kept", dir_fd=inner).st_size == 4
    for fd in (*fds.values(), inner):
        os.close(fd)
    with (d / "changed").open("r+") as again:
        again.write("C")
    assert (mount.stack.base / "fresh1/upper/d/changed").read_text() == "Changed"
    assert (mount.stack.upper / "d/changed").read_text() == "new"


def test_mappings(mount: Mount) -> None:
    d = mount.target / "d"
    with (d / "kept").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as kept:
        with (d / "changed").open("r+b") as other, mmap.mmap(other.fileno(), 0) as dirty:
            dirty[:3] = b"NEW"

            mount.reset()

            assert (d / "changed").read_text() == "changed"
        assert kept[:] == b"kept"
    os.sync()
    assert (d / "changed").read_text() == "changed"
    assert os.listdir(mount.stack.base / "fresh1/upper") == []


def test_working_directories(mount: Mount) -> None:
    (mount.target / "new/inner").mkdir(parents=True)
    (mount.target / "d/made").touch()
    with (
        _shell(mount.target / "d", "read x; pwd; ls; cat kept; read x") as in_layer,
        _shell(mount.target / "new/inner", "read x; ls . || echo gone; read x") as in_new,
    ):
        mount.reset()

        words, _ = in_layer.communicate("\n\n", timeout=_TIMEOUT_S)
        assert words == f"{mount.target}/d\nchanged\ndeleted\nkept\nkept"
        words, _ = in_new.communicate("\n\n", timeout=_TIMEOUT_S)
        assert words.endswith("gone\n")


def _shell(cwd: Path, script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", "-c", script],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _end_all(shell: subprocess.Popen[str]) -> None:
    """Kill a shell with what it has started, and wait until none of it can change anything."""
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait(_TIMEOUT_S)
    deadline = time.monotonic() + _TIMEOUT_S
    while _has_members(shell.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_mounted_inside_stays(mount: Mount) -> None:
    (mount.target / "run/point").mkdir(parents=True)
    (mount.target / "run/gone").touch()
    points = [mount.target / "run/point", mount.target / "e"]
    for point in points:
        mounts.mount(b"tmpfs", os.fsencode(point), b"tmpfs", 0, b"")
        (point / "file").touch()
    try:
        mount.reset("/run/point", "/e")

        for point in points:
            assert os.path.ismount(point)
            assert (point / "file").exists()
        assert os.listdir(mount.target / "run") == ["point"]
    finally:
        for point in points:
            mounting.unmount(os.fsencode(point))
    assert os.listdir(points[0]) == []


def test_a_busy_mount(mount: Mount) -> None:
    script = "while :; do for n in 1 2 3 4 5; do echo $n > d/file$n; mv d/file$n e; cat e/*; done; "
    script += "rm -r e/*; mkdir -p x/y/z; rm -r x; done >&- 2>&-"
    with _shell(mount.target, script) as one, _shell(mount.target, script) as other:
        try:
            for _ in range(20):
                (mount.target / "d/mark").write_text("mark")
                mount.reset()
                assert not (mount.target / "d/mark").exists()
                assert (mount.target / "d/changed").read_text() == "changed"
        finally:
            _end_all(one)
            _end_all(other)
    mount.reset()
    assert sorted(os.listdir(mount.target)) == ["d", "e"]
    assert os.listdir(mount.target / "e") == []
    assert sorted(os.listdir(mount.target / "d")) == ["changed", "deleted", "kept"]


def test_a_file_that_is_being_copied_up(mount: Mount) -> None:
    with (mount.stack.lower / "large").open("wb") as large:
        large.write(os.urandom(1 << 20) * 200)
    with _shell(mount.target, "echo x >> large") as appending:
        deadline = time.monotonic() + _TIMEOUT_S
        while appending.poll() is None and time.monotonic() < deadline:
            mount.reset()
    assert appending.returncode is not None
    mount.reset()
    assert (mount.target / "large").stat().st_size == 200 << 20


def test_what_cannot_be_done_changes_nothing(mount: Mount) -> None:
    (mount.target / "made").write_text("made")
    request: dict[str, object] = {"do": "reset", "upper": "/nowhere", "work": "/nowhere"}

    assert "/nowhere" in mount.ask(request | {"kept": [], "layers": None})["error"]
    assert mount.ask({"do": "something"}) == {"error": "no such request"}
    assert (mount.target / "made").read_text() == "made"


def test_a_changed_name_takes_a_message_or_two(mount: Mount) -> None:
    """The kernel is told each name, and tells that it has dropped what was there."""
    counts = []
    for round_ in range(3):
        directory = mount.target / f"many{round_}"
        directory.mkdir()
        for n in range(1000):
            (directory / f"file{n}").write_text("x")
        with (directory / "file7").open():
            before = mount.messages()
            mount.reset()
            counts.append(mount.messages() - before)
    print(counts)
    assert min(counts) < 1200, counts
