"""Access times: whose move, and whose do not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import Volume
from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from pathlib import Path

_OLD = (5, 6)


def _fill(directory: Path) -> None:
    (directory / "dir").mkdir()
    for name in ("file", "dir/file"):
        (directory / name).write_bytes(b"x")
    for name in ("file", "dir"):
        os.utime(directory / name, ns=_OLD)


def _read(directory: Path) -> None:
    assert (directory / "file").read_bytes() == b"x"
    assert os.listdir(directory / "dir") == ["file"]


def _moved(directory: Path) -> set[str]:
    return {name for name in ("file", "dir") if (directory / name).stat().st_atime_ns != _OLD[0]}


def test_what_is_read_in_the_upper(stack: Stack) -> None:
    _fill(stack.upper)
    with serving(stack.spec, stack.plan):
        _read(stack.target)
        assert _moved(stack.target) == {"file", "dir"}
    assert _moved(stack.upper) == {"file", "dir"}


@pytest.mark.parametrize("change", [{"noatime": True}, {"read_only": True}])
def test_what_is_read_where_none_is_to_move(stack: Stack, change: dict[str, bool]) -> None:
    _fill(stack.upper)
    with serving(stack.spec, stack.plan._replace(**change)):
        _read(stack.target)
    assert _moved(stack.upper) == set()


def test_what_is_read_in_a_layer(stack: Stack) -> None:
    _fill(stack.lower)
    with serving(stack.spec, stack.plan):
        _read(stack.target)
    assert _moved(stack.lower) == set()


@pytest.mark.parametrize(("read_only", "moved"), [(False, {"file", "dir"}), (True, set())])
def test_what_is_read_in_a_volume(stack: Stack, scratch: Path, read_only, moved) -> None:
    host = scratch / "host"
    host.mkdir()
    _fill(host)
    volume = Volume(os.fsencode(host), b"/volume", read_only=read_only)
    with serving(stack.spec._replace(volumes=(volume,)), stack.plan):
        _read(stack.target / "volume")
    assert _moved(host) == moved
