"""Layers and uppers that an ordinary user has prepared, mounted by root; asked by that user."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.drivers.serving import Stack, read_only, serving
from tests.support.users import ALICE, BOB, errno_as

if TYPE_CHECKING:
    from pathlib import Path

_OVERRIDE = "user.containers.override_stat"


def _give(path: Path, uid: int) -> None:
    for above, directories, files in os.walk(path):
        for name in (".", *directories, *files):
            os.chown(os.path.join(above, name), uid, uid, follow_symlinks=False)


@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
def test_an_override_makes_nobody_root(stack: Stack, *, asked: bool) -> None:
    tool = stack.lower / "tool"
    shutil.copy("/usr/bin/id", tool)
    (stack.lower / "disk").touch()
    tool.chmod(0o755)
    _give(stack.lower, ALICE)
    values = {".": b"0:0:0755:dir", "tool": b"0:0:06755:file", "disk": b"0:0:0666:char-1-5"}
    for name, value in values.items():
        set_xattr = lambda n=name, v=value: os.setxattr(stack.lower / n, _OVERRIDE, v)  # noqa: E731
        assert errno_as(ALICE, set_xattr) == 0
    spec = read_only(stack.spec)._replace(layer_overrides=asked)

    with serving(spec, stack.plan):
        found = (stack.target / "tool").stat()
        assert found.st_uid == (0 if asked else ALICE)
        assert stat.S_IMODE(found.st_mode) == 0o755
        assert stat.S_ISREG((stack.target / "disk").stat().st_mode)


@pytest.mark.parametrize("owner", [ALICE, 0], ids=["owner", "writer"])
def test_an_override_set_through_a_mount_lies_escaped(stack: Stack, owner: int) -> None:
    (stack.lower / "file").write_bytes(b"#!/bin/sh\n")
    (stack.lower / "file").chmod(0o666)
    os.chown(stack.lower / "file", owner, owner)
    file = stack.target / "file"
    with serving(stack.spec, stack.plan):
        assert errno_as(ALICE, lambda: os.setxattr(file, _OVERRIDE, b"0:0:04755:file")) == 0
        assert os.getxattr(file, _OVERRIDE) == b"0:0:04755:file"

    assert _OVERRIDE not in os.listxattr(stack.upper / "file")


def test_a_redirect_of_a_users_leads_nowhere(stack: Stack) -> None:
    base = stack.base / "base"
    (base / "root/keys").mkdir(parents=True)
    (base / "root/keys/k").write_bytes(b"SECRET")
    (base / "root").chmod(0o700)
    (stack.lower / "x").mkdir()
    _give(stack.lower, ALICE)
    mark = lambda: os.setxattr(stack.lower / "x", "user.overlay.redirect", b"/root/keys")  # noqa: E731
    assert errno_as(ALICE, mark) == 0
    spec = stack.spec._replace(lower=(*stack.spec.lower, os.fsencode(base)))

    with serving(spec, stack.plan):
        assert errno_as(ALICE, (stack.target / "x/k").read_bytes) == errno.ENOENT
        assert errno_as(ALICE, (stack.target / "root/keys/k").read_bytes) == errno.EACCES


def test_a_fifo_in_a_files_place_holds_up_nobody(stack: Stack) -> None:
    """Nor does one that has become shorter: it ends where it ends."""
    (stack.lower / "file").write_bytes(b"data")
    (stack.lower / "long").write_bytes(b"x" * 200_000)
    _give(stack.lower, ALICE)
    with serving(read_only(stack.spec), stack.plan):
        assert (stack.target / "file").stat().st_size == 4
        assert (stack.target / "long").stat().st_size == 200_000
        (stack.lower / "file").unlink()
        os.mkfifo(stack.lower / "file")
        os.truncate(stack.lower / "long", 10)

        assert errno_as(BOB, (stack.target / "file").read_bytes) != 0
        with (stack.target / "long").open("rb") as long:
            assert long.read().rstrip(b"\0") == b"x" * 10
