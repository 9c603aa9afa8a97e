"""What a daemon records of the use of its layers, and tells those who may ask."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import mountinfo
from overlayfs_py.drivers.uses import Use
from overlayfs_py.drivers.written_uses import lines_of, read_lines
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import inquiring
from overlayfs_py.union.values import Volume
from tests.drivers.serving import Daemon, Stack, serving, with_driver
from tests.support.trees import Dir, File, HardLink, Symlink, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LAYER = {
    "": Dir(),
    "read": File(b"data"),
    "statted": File(b"data"),
    "empty": File(),
    "mapped": File(b"data"),
    "program": File(b"#!/bin/sh\nexit 0\n", mode=0o755),
    "link": Symlink("dir/target"),
    "dir/target": File(b"data"),
    "dir/never": File(b"data"),
    "one": File(b"data"),
    "other": HardLink("one"),
    "written": File(b"data"),
    "gone": File(b"data"),
    "listed/a": File(b"data"),
    "listed/b": File(b"data"),
    "unused/file": File(b"data"),
}


@pytest.fixture
def layered(stack: Stack) -> Iterator[Daemon]:
    stack.lower.rmdir()
    build(stack.lower, _LAYER)
    with serving(stack.spec, stack.plan) as daemon:
        yield daemon


def recorded(target: Path) -> list[tuple[str, set[str]]]:
    sock = inquiring.connect_to_mount(os.fsencode(target))
    read = read_lines(inquiring.ask(sock, {"ask": "uses"}))
    return [(os.fsdecode(use.path), set(use.kinds)) for use in read.uses]


def test_each_first_use_is_recorded_in_order(layered: Daemon) -> None:
    root = layered.target
    (root / "read").read_bytes()
    (root / "statted").stat()
    (root / "empty").read_bytes()
    with (
        (root / "mapped").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as m,
    ):
        assert m[:4] == b"data"
    subprocess.run([root / "program"], check=True)
    (root / "link").read_bytes()
    (root / "other").stat()
    (root / "one").stat()
    (root / "written").write_bytes(b"new")
    (root / "gone").unlink()
    (root / "new").write_bytes(b"none of a layer's")
    (root / "new").read_bytes()
    (root / "read").read_bytes()
    os.listdir(root / "listed")

    assert recorded(root) == [
        ("/read", {"look", "read"}),
        ("/statted", {"look"}),
        ("/empty", {"look"}),
        ("/mapped", {"look", "read"}),
        ("/program", {"look", "read"}),
        ("/link", {"look", "link"}),
        ("/dir", {"look"}),
        ("/dir/target", {"look", "read"}),
        ("/other", {"look"}),
        ("/one", {"look"}),
        ("/written", {"look"}),
        ("/gone", {"look"}),
        ("/listed", {"look", "list"}),
    ]


def test_what_has_moved_is_recorded_where_the_image_has_it(layered: Daemon) -> None:
    root = layered.target
    (root / "dir").rename(root / "elsewhere")
    (root / "elsewhere/target").read_bytes()

    told = dict(recorded(root))

    assert told["/dir"] == {"look"}
    assert "/unused/file" not in told


def test_what_the_kernel_has_forgotten_is_known(layered: Daemon) -> None:
    root = layered.target
    (root / "dir/target").read_bytes()
    (root / "dir/target").unlink()

    assert ("/dir/target", {"look", "read"}) in recorded(root)


def test_volumes_are_none_of_it(stack: Stack) -> None:
    volume = stack.base / "volume"
    volume.mkdir()
    (volume / "file").write_bytes(b"data")
    spec = stack.spec._replace(volumes=(Volume(os.fsencode(volume), b"/data"),))
    with serving(spec, stack.plan) as daemon:
        (daemon.target / "data/file").read_bytes()
        os.listdir(daemon.target / "data")

        assert recorded(daemon.target) == []


@pytest.mark.parametrize("exact", [False, True])
def test_a_listing_tells_names_unless_each_is_to_be_looked_up(scratch: Path, exact: bool) -> None:
    with_driver.set("direct")
    stack = Stack(scratch)
    stack.lower.rmdir()
    build(stack.lower, _LAYER)
    with serving(stack.spec, stack.plan._replace(exact_uses=exact)) as daemon:
        os.listdir(daemon.target / "listed")
        (daemon.target / "listed/b").stat()

        told = dict(recorded(daemon.target))

    with_driver.set("auto")
    assert ("/listed/b" in told) == exact
    assert "/listed/a" not in told


def test_what_is_no_question_is_refused_in_words(layered: Daemon) -> None:
    for question in ({"ask": "secrets"}, {}, {"ask": "requests", "seconds": "x"}):
        sock = inquiring.connect_to_mount(os.fsencode(layered.target))
        with pytest.raises(Failure, match="no such question"):
            list(inquiring.ask(sock, question))
    with inquiring.connect_to_mount(os.fsencode(layered.target)) as sock:
        sock.sendall(b"x" * 10_000)
        sock.shutdown(socket.SHUT_WR)
        assert b"malformed question" in sock.makefile("rb").read()
    assert recorded(layered.target) == []


_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1].encode().replace(b"@", b"\\0"))
    try:
        sock.sendall(b'{"ask": "uses"}\\n')
        print(len(sock.makefile("rb").read()))
    except OSError:
        print(0)
"""


def test_other_users_are_told_nothing(layered: Daemon) -> None:
    (layered.target / "read").read_bytes()
    found = mountinfo.topmost(os.fsencode(layered.target))
    assert found is not None
    recorded(layered.target)  # it listens
    name = found.inquiries.decode().replace("\0", "@")
    asked = [sys.executable, "-c", _ASK, name]

    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *asked]
    assert subprocess.run(asked, check=True, capture_output=True).stdout != b"0\n"
    assert subprocess.run(as_nobody, check=True, capture_output=True).stdout == b"0\n"


def test_lines_that_a_kill_has_cut_are_left_out() -> None:
    uses = [Use(b"/a\xff", frozenset({"look"})), Use(b"/b", frozenset({"look", "read"}))]
    lines = [*lines_of(uses, exact=True), *lines_of(uses[:1], exact=True)]

    read = read_lines([*lines, lines[0][:10], "[]", ""])

    assert read.uses == uses
    assert read.exact
    assert not read_lines([*lines, *lines_of(uses, exact=False)]).exact


def test_what_is_no_mount_of_ours_has_nothing_to_tell(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no mount of ours"):
        inquiring.connect_to_mount(os.fsencode(tmp_path))
