"""FIFOs, sockets and device nodes."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tests.posix.descriptors import opened
from tests.posix.expecting import is_absent, mode_of, refused
from tests.posix.processes import ALICE, Child, as_user, umask
from tests.posix.registry import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _unix_socket(directory: Path, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """A socket, with `directory` as the place to stand: an address is 107 bytes at most."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        with closing(socket.socket(socket.AF_UNIX, kind)) as made:
            yield made
    finally:
        os.chdir(before)


@check()
def a_new_fifo_has_the_mode_asked_for(root: Path) -> None:
    with umask(0o022):
        os.mkfifo(root / "new", 0o666)
    assert stat.S_ISFIFO(os.lstat(root / "new").st_mode)
    assert mode_of(root / "new") == 0o644


@check()
def data_passes_through_a_fifo(root: Path) -> None:
    def write() -> None:
        with opened(root / "fifo", os.O_WRONLY) as descriptor:
            os.write(descriptor, b"through")

    writer = Child(write)
    with opened(root / "fifo") as descriptor:
        assert os.read(descriptor, 100) == b"through"
        writer.result()
        assert os.read(descriptor, 100) == b""


@check()
def both_names_of_a_fifo_meet(root: Path) -> None:
    os.link(root / "fifo", root / "other")
    with (
        opened(root / "fifo", os.O_RDONLY | os.O_NONBLOCK) as reader,
        opened(root / "other", os.O_WRONLY | os.O_NONBLOCK) as writer,
    ):
        os.write(writer, b"met")
        assert os.read(reader, 10) == b"met"


@check()
def a_fifo_without_a_reader_is_not_opened_for_writing(root: Path) -> None:
    with refused(errno.ENXIO), opened(root / "fifo", os.O_WRONLY | os.O_NONBLOCK):
        pass


@check()
def an_open_fifo_stays_usable_when_its_mode_changes(root: Path) -> None:
    with opened(root / "fifo", os.O_RDWR) as descriptor:
        os.chmod(root / "fifo", 0o600)
        os.rename(root / "fifo", root / "moved")
        with opened(root / "moved", os.O_WRONLY | os.O_NONBLOCK) as writer:
            os.write(writer, b"x")
        assert os.read(descriptor, 10) == b"x"


@check()
def a_fifo_has_no_size_and_no_position(root: Path) -> None:
    assert os.lstat(root / "fifo").st_size == 0
    with opened(root / "fifo", os.O_RDWR) as descriptor, refused(errno.ESPIPE):
        os.lseek(descriptor, 0, os.SEEK_SET)


@check()
def device_nodes_keep_their_numbers(root: Path) -> None:
    for kind, major, minor in (
        (stat.S_IFCHR, 1, 3),
        (stat.S_IFBLK, 8, 1),
        (stat.S_IFCHR, 4000, 1_000_000),
        (stat.S_IFBLK, 255, 256),
    ):
        path = root / f"device-{major}-{minor}"
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
        found = os.lstat(path)
        assert stat.S_IFMT(found.st_mode) == kind
        assert found.st_rdev == os.makedev(major, minor)


@check()
def prepared_devices_keep_their_numbers(root: Path) -> None:
    os.chmod(root / "null", 0o644)
    os.chown(root / "block", 1, 2)
    assert os.lstat(root / "null").st_rdev == os.makedev(1, 3)
    assert os.lstat(root / "block").st_rdev == os.makedev(7, 200)
    assert stat.S_ISBLK(os.lstat(root / "block").st_mode)


@check()
def a_device_node_leads_to_the_device(root: Path) -> None:
    with opened(root / "null", os.O_RDWR) as descriptor:
        assert os.write(descriptor, b"lost") == 4
        assert os.read(descriptor, 10) == b""
    os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with opened(root / "zero") as descriptor:
        assert os.read(descriptor, 5) == bytes(5)


@check()
def a_device_node_obeys_its_mode(root: Path) -> None:
    as_user(lambda: os.close(os.open(root / "null", os.O_RDWR)))
    os.chmod(root / "null", 0o600)
    with refused(errno.EACCES):
        as_user(lambda: os.close(os.open(root / "null", os.O_RDWR)))


@check()
def mknod_makes_regular_files_and_sockets_too(root: Path) -> None:
    with umask(0):
        os.mknod(root / "regular", stat.S_IFREG | 0o640)
        os.mknod(root / "bound", stat.S_IFSOCK | 0o750)
    assert os.lstat(root / "regular").st_mode == stat.S_IFREG | 0o640
    assert os.lstat(root / "bound").st_mode == stat.S_IFSOCK | 0o750
    assert (root / "regular").read_bytes() == b""


@check()
def mknod_replaces_nothing(root: Path) -> None:
    for name in ("file", "dir", "fifo", "dangling"):
        with refused(errno.EEXIST):
            os.mkfifo(root / name)
        with refused(errno.EEXIST):
            os.mknod(root / name, stat.S_IFCHR, os.makedev(1, 3))


@check()
def a_bound_socket_is_connected_to(root: Path) -> None:
    with _unix_socket(root) as server:
        server.bind("new")
        server.listen()
        assert stat.S_ISSOCK(os.lstat(root / "new").st_mode)
        with _unix_socket(root) as client:
            client.connect("new")
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"hello")
                assert accepted.recv(10) == b"hello"
    os.unlink(root / "new")
    assert is_absent(root / "new")


@check()
def a_socket_is_found_after_its_directory_moved(root: Path) -> None:
    with _unix_socket(root / "dir", socket.SOCK_DGRAM) as server:
        server.bind("new")
        os.rename(root / "dir", root / "moved")
        with _unix_socket(root / "moved", socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", "new")
        assert server.recv(10) == b"hello"


@check()
def a_name_in_use_is_not_bound(root: Path) -> None:
    for name in ("file", "socket", "dir"):
        with _unix_socket(root) as server, refused(errno.EADDRINUSE):
            server.bind(name)


@check()
def a_socket_that_nobody_serves_refuses(root: Path) -> None:
    with _unix_socket(root) as client, refused(errno.ECONNREFUSED):
        client.connect("socket")
    with refused(errno.ENXIO), opened(root / "socket", os.O_RDWR):
        pass


@check()
def connecting_takes_the_right_to_write(root: Path) -> None:
    with _unix_socket(root) as server:
        server.bind("new")
        server.listen()
        os.chmod(root / "new", 0o600)

        def connect() -> None:
            with _unix_socket(root) as client:
                client.connect("new")

        with refused(errno.EACCES):
            as_user(connect, ALICE)
