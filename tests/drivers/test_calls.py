"""How many calls of Python functions a message or a listed name takes: exact on any machine.

Processor time follows them. The bounds are what was counted with CPython 3.11 and a tenth more, so
that a change which makes a message dearer says so.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers.direct_driver import Server
from overlayfs_py.drivers.mounting import Mounted
from overlayfs_py.drivers.uses import Uses
from overlayfs_py.union.opening import open_union
from overlayfs_py.wire.protocol import Opcode
from tests.drivers.serving import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = 150
_HEADER = 16  # bytes before the payload of an answer
_READ = struct.Struct("=QQIIQII")


class CountingServer:
    """A server that is handed messages, and whose answers go nowhere."""

    def __init__(self, stack: Stack) -> None:
        self.union = open_union(stack.spec)  # over directories, whatever others are tested over
        self._fd = os.open(os.devnull, os.O_RDWR)
        mounted = Mounted(self._fd, b"/", None, by_ourselves=True, denies_others=False, uses=Uses())
        self._server = Server(self.union, mounted)
        self._device = self._server._device
        self._device.answer = self._note  # type: ignore[method-assign]
        self._device.answer_data = lambda head, data: self._note(head + bytes(data))  # type: ignore[method-assign]
        self.answer = b""
        self.calls = 0
        self.ask(Opcode.INIT, struct.pack("=IIIII44x", 7, 45, 131072, (1 << 32) - 1, 1023))

    def _note(self, answer: bytes) -> None:
        self.answer = answer

    def close(self) -> None:
        self.union.close()
        os.close(self._fd)

    def ask(self, opcode: int, body: bytes = b"", node: int = 1) -> bytes:
        """Have a message answered, and count the calls; returns what it was answered with."""
        head = struct.pack("=IIQQIIIHH", 40 + len(body), opcode, 2, node, 0, 0, 1, 0, 0)
        message = memoryview(bytearray(head + body))
        self.calls = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            self.calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            self._server._take(message, None)  # type: ignore[arg-type]
        finally:
            sys.setprofile(before)
        return self.answer[_HEADER:]

    def node(self, name: bytes, parent: int = 1) -> int:
        return _node_in(self.ask(Opcode.LOOKUP, name + b"\0", parent))


@pytest.fixture
def server(scratch: Path) -> Iterator[CountingServer]:
    stack = Stack(scratch)
    directory = stack.lower / "dir"
    directory.mkdir()
    for number in range(FILES):
        (directory / f"file-{number:04}").write_bytes(b"x" * 600)
    server = CountingServer(stack)
    yield server
    server.close()


def _node_in(entry: bytes) -> int:
    return int(struct.unpack_from("=Q", entry)[0])


def _listing(offset: int) -> bytes:
    return _READ.pack(0, offset, 32768, 0, 0, 0, 0)


def test_a_listed_name(server: CountingServer) -> None:
    directory = server.node(b"dir")
    told = server.ask(Opcode.READDIRPLUS, _listing(0), directory)
    assert told.count(b"file-") == FILES
    assert server.calls <= 6 * FILES + 90  # 59 a name before it was one loop

    # A name that was told of is no node before it is used.
    assert server.union.known_nodes() == FILES + 2


def test_what_is_asked_of_a_file(server: CountingServer) -> None:
    directory = server.node(b"dir")
    server.ask(Opcode.READDIRPLUS, _listing(0), directory)
    file = server.node(b"file-0003", directory)
    read = _READ.pack(0, 0, 4096, 0, 0, 0, 0)
    capability = struct.pack("=II", 24, 0) + b"security.capability\0"
    counted: dict[str, int] = {}
    for name, opcode, body in (
        ("read", Opcode.READ, read),
        ("read again", Opcode.READ, read),
        ("getattr", Opcode.GETATTR, bytes(16)),
        ("getxattr", Opcode.GETXATTR, capability),
        ("listxattr", Opcode.LISTXATTR, bytes(8)),
        ("forget", Opcode.FORGET, struct.pack("=Q", 1)),
    ):
        answer = server.ask(opcode, body, file)
        counted[name] = server.calls
        if name.startswith("read"):
            assert answer == b"x" * 600

    most = {
        "read": 36,
        "read again": 20,
        "getattr": 22,
        "getxattr": 20,
        "listxattr": 22,
        "forget": 18,
    }
    assert {name: count for name, count in counted.items() if count > most[name]} == {}


def test_a_file_out_of_a_tar_archive(server: CountingServer) -> None:
    top = _node_in(server.ask(Opcode.MKDIR, struct.pack("=II", 0o755, 0) + b"new\0"))
    server.ask(Opcode.GETATTR, bytes(16), top)
    server.ask(Opcode.MKNOD, _mknod(b"first"), top)
    counted: dict[str, int] = {}

    def count(name: str, opcode: int, body: bytes, node: int) -> bytes:
        answer = server.ask(opcode, body, node)
        counted[name] = server.calls
        return answer

    count("getattr", Opcode.GETATTR, bytes(16), top)
    assert count("lookup", Opcode.LOOKUP, b"file\0", top)[:8] == bytes(8)
    file = _node_in(count("mknod", Opcode.MKNOD, _mknod(b"file"), top))
    write = _READ.pack(0, 0, 600, 0, 0, 0, 0) + b"x" * 600
    assert count("write", Opcode.WRITE, write, file) == struct.pack("=II", 600, 0)
    count("times", Opcode.SETATTR, _setattr(1 << 4 | 1 << 5), file)
    count("owner", Opcode.SETATTR, _setattr(1 << 1 | 1 << 2), file)
    attributes = count("mode", Opcode.SETATTR, _setattr(1), file)

    found = struct.unpack_from("=QII6Q7I", attributes)
    assert (found[4], found[12]) == (600, stat.S_IFREG | 0o640)
    most = {
        "getattr": 25,
        "lookup": 23,
        "mknod": 55,
        "write": 23,
        "times": 39,
        "owner": 40,
        "mode": 39,
    }
    assert {name: count for name, count in counted.items() if count > most[name]} == {}


def _mknod(name: bytes) -> bytes:
    return struct.pack("=IIII", stat.S_IFREG | 0o600, 0, 0, 0) + name + b"\0"


def _setattr(valid: int) -> bytes:
    return struct.pack(
        "=IIQQQQQQIIIIIIII", valid, 0, 0, 0, 0, 10**9, 10**9, 0, 5, 5, 0, 0o640, 0, 0, 0, 0
    )


def test_the_counts_are_of_answers(server: CountingServer) -> None:
    """Of a message that is refused they would say nothing."""
    server.ask(Opcode.LOOKUP, b"missing\0", 4711)
    assert struct.unpack_from("=Ii", server.answer)[1] == -errno.ESTALE
