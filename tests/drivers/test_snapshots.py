"""Snapshots of a mount in use: nothing changes for its users, and they can be gone back to."""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 20


class Mount:
    """A mount whose daemon has a door, and the uppers that it has had."""

    def __init__(self, stack: Stack, door: socket.socket, pid: int) -> None:
        self.target = stack.target
        self.pid = pid
        self.uppers = [stack.upper]
        self._base = stack.base
        self._door = door

    def _places(self) -> dict[str, str]:
        fresh = self._base / f"fresh{len(self.uppers)}"
        for name in ("upper", "work"):
            (fresh / name).mkdir(parents=True)
        self.uppers.append(fresh / "upper")
        return {name: str(fresh / name) for name in ("upper", "work")}

    def _ask(self, request: dict[str, object]) -> None:
        self._door.send(json.dumps(request).encode())
        assert json.loads(self._door.recv(1 << 16)) == {}

    def snapshot(self) -> str:
        """Take one; returns where the layer is, under a name that only the end of counts."""
        layer = self.uppers[-1]
        name = f"layer{len(self.uppers)}"
        self._ask({"do": "snapshot", "name": name, **self._places()})
        return str(layer.rename(self._base / name))

    def restore(self, *layers: str) -> None:
        self._ask({"do": "reset", "kept": [], "layers": list(layers), **self._places()})

    def messages(self) -> int:
        """How many calls of read(2) and write(2) the daemon has made, those by iovecs too."""
        lines = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        told = dict(line.split(": ") for line in lines)
        return int(told["syscr"]) + int(told["syscw"])


@pytest.fixture
def stack(scratch: Path) -> Stack:
    made = Stack(scratch)
    (made.lower / "d").mkdir()
    for name in ("kept", "changed", "deleted"):
        (made.lower / "d" / name).write_text(name)
    (made.lower / "d/linked").write_text("linked")
    os.link(made.lower / "d/linked", made.lower / "other")
    os.link(made.lower / "d/linked", made.lower / "third")
    return made


@pytest.fixture
def mount(stack: Stack) -> Iterator[Mount]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_TIMEOUT_S)
    plan = stack.plan._replace(door_fd=theirs.fileno())
    with serving(stack.spec._replace(metacopy=True), plan, driver="direct") as daemon:
        theirs.close()
        yield Mount(stack, ours, daemon.process.pid)
    ours.close()


def test_what_is_dirty_in_a_mapping_is_in_it(mount: Mount) -> None:
    path = mount.target / "d/changed"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:3] = b"NEW"
        layer = mount.snapshot()
        assert (Path(layer) / "d/changed").read_text() == "NEWnged"
        mapped[:3] = b"LAT"
        mapped.flush()
        assert path.read_text() == "LATnged"
    assert (Path(layer) / "d/changed").read_text() == "NEWnged"
    mount.restore(layer)
    assert path.read_text() == "NEWnged"


def test_what_is_open_goes_on(mount: Mount) -> None:
    d = mount.target / "d"
    fd = os.open(d / "made", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"one")
    gone = os.open(d / "gone", os.O_RDWR | os.O_CREAT)
    os.unlink(d / "gone")
    (d / "empty").mkdir()
    no_directory = os.open(d / "empty", os.O_RDONLY)
    os.rmdir(d / "empty")
    unnamed = os.open(d, os.O_TMPFILE | os.O_RDWR)
    inner = os.open(d, os.O_RDONLY)
    before = os.fstat(fd)

    layer = Path(mount.snapshot())

    assert (os.fstat(fd).st_ino, os.fstat(fd).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for descriptor in (fd, gone, unnamed):
        os.write(descriptor, b"two")
    os.chmod(no_directory, 0o700)
    os.link(f"/proc/self/fd/{unnamed}", "named", dst_dir_fd=inner, follow_symlinks=True)
    assert os.pread(gone, 9, 0) == b"two"
    assert sorted(os.listdir(inner)) == ["changed", "deleted", "kept", "linked", "made", "named"]
    assert os.stat(d / "made").st_ino == before.st_ino
    assert (layer / "d/made").read_text() == "one"
    assert (mount.uppers[-1] / "d/made").read_text() == "onetwo"
    for descriptor in (fd, gone, unnamed, inner, no_directory):
        os.close(descriptor)


def test_all_names_of_a_file_are_its_copies(mount: Mount) -> None:
    """Also those that nobody has looked up: the layer has no index to find the copy by."""
    (mount.target / "other").write_text("changed")
    number = (mount.target / "other").stat().st_ino

    layer = Path(mount.snapshot())

    assert {(layer / name).read_text() for name in ("other", "third", "d/linked")} == {"changed"}
    assert (layer / "other").stat().st_nlink == 3
    for name in ("other", "third", "d/linked"):
        found = (mount.target / name).stat()
        assert (found.st_ino, found.st_nlink) == (number, 3)
    (mount.target / "third").write_text("again")
    assert (mount.target / "d/linked").read_text() == "again"
    mount.restore(str(layer))
    assert (mount.target / "d/linked").read_text() == "changed"


def test_numbers_stay_when_the_kernel_has_forgotten_them(mount: Mount) -> None:
    d = mount.target / "d"
    (d / "changed").chmod(0o600)  # a metacopy
    (d / "kept").write_text("new")
    (mount.target / "new/inner").mkdir(parents=True)
    paths = [d, d / "changed", d / "kept", mount.target / "new", mount.target / "new/inner"]
    before = [path.stat().st_ino for path in paths]
    for _ in range(2):
        Path("/proc/sys/vm/drop_caches").write_text("2")
        mount.snapshot()
        Path("/proc/sys/vm/drop_caches").write_text("2")
        assert [path.stat().st_ino for path in paths] == before
        (d / "kept").write_text("newer")
        assert [path.stat().st_ino for path in paths] == before
    assert (d / "changed").read_text() == "changed"


def test_files_of_what_is_thrown_away_are_stale(mount: Mount) -> None:
    d = mount.target / "d"
    (d / "made").write_text("one")
    first = mount.snapshot()
    second = mount.snapshot()
    with (d / "made").open() as old, (d / "made").open("a") as new, (d / "kept").open() as same:
        assert old.read() == "one"
        new.write("two")
        new.flush()
        (d / "later").touch()
        mount.restore(first)
        with pytest.raises(OSError, match="Stale"):
            os.pwrite(new.fileno(), b"three", 0)
        assert same.read() == "kept"
        with pytest.raises(OSError, match="Stale"):
            os.fstat(old.fileno())
    assert (d / "made").read_text() == "one"
    assert not (d / "later").exists()
    mount.restore(second, first)
    assert (d / "made").read_text() == "one"
    mount.restore()
    assert sorted(os.listdir(d)) == ["changed", "deleted", "kept", "linked"]


def test_processes_write_all_the_while(mount: Mount) -> None:
    script = "while :; do echo $n >> log; n=$((n+1)); mkdir -p a/b; echo > a/b/$n; rm -r a; done"
    shell = subprocess.Popen(["sh", "-c", f"n=0; {script}"], cwd=mount.target)
    try:
        layers: list[str] = []
        deadline = time.monotonic() + _TIMEOUT_S
        while len(layers) < 8:
            layers.insert(0, mount.snapshot())
            assert time.monotonic() < deadline
    finally:
        shell.kill()
        shell.wait(_TIMEOUT_S)
    # Nothing is lost and nothing is there twice, whatever layer it was written to.
    for name in [mount.target / "log", *(Path(layer) / "log" for layer in layers)]:
        if name.exists():
            lines = name.read_text().split()
            assert lines == [str(n) for n in range(len(lines))]


def test_what_cannot_be_used_changes_nothing(mount: Mount) -> None:
    (mount.target / "made").write_text("made")
    request = {"do": "snapshot", "upper": "/nowhere", "work": "/nowhere/w", "name": "x"}
    mount._door.send(json.dumps(request).encode())
    assert "/nowhere" in json.loads(mount._door.recv(1 << 16))["error"]
    (mount.target / "made").write_text("again")
    assert (mount.uppers[0] / "made").read_text() == "again"


def test_a_changed_name_takes_a_message_or_two(mount: Mount) -> None:
    snapshots, restores, layers = [], [], []
    for round_ in range(2):
        directory = mount.target / f"many{round_}"
        directory.mkdir()
        for n in range(1000):
            (directory / f"file{n}").write_text("x")
        before = mount.messages()
        layers.insert(0, mount.snapshot())
        snapshots.append(mount.messages() - before)
        for n in range(1000):
            (directory / f"file{n}").write_text("y")
        before = mount.messages()
        mount.restore(*layers)
        restores.append(mount.messages() - before)
    print(snapshots, restores)
    assert min(snapshots) < 15
    assert min(restores) < 1200
