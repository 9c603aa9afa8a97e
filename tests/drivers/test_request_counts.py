"""Requests by process, counted while somebody watches."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import Failure
from overlayfs_py.mounts import inquiring
from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.drivers.serving import Daemon

_MKDIRS = 'for name in a b c; do mkdir "$0/$1$name"; done'


@pytest.fixture
def daemon(scratch: Path) -> Iterator[Daemon]:
    stack = Stack(scratch)
    with serving(stack.spec, stack.plan, driver="direct") as served:
        yield served


def _next(answer: Generator[bytes]) -> dict[int, dict[str, object]]:
    told = json.loads(next(answer))["processes"]
    return {process["pid"]: process for process in told}


def _watch(root: Path, seconds: float) -> Generator[bytes]:
    sock = inquiring.connect_to_mount(os.fsencode(root))
    return inquiring.ask(sock, {"ask": "requests", "seconds": seconds})


def test_each_process_is_told_with_what_it_has_asked_for(daemon: Daemon) -> None:
    os.mkdir(daemon.target / "before")  # nobody counts yet
    watched = _watch(daemon.target, 0.05)
    _next(watched)
    script = f"{_MKDIRS}; :"
    done = subprocess.Popen(["sh", "-c", script, daemon.target, "x"])
    done.wait()
    os.mkdir(daemon.target / "ours")

    found: dict[int, dict[str, object]] = {}
    while os.getpid() not in found:
        found |= _next(watched)
    watched.close()

    asked = found[os.getpid()]["requests"]
    assert isinstance(asked, dict)
    assert (asked["lookup"], asked["mkdir"]) == (1, 1)
    others = [each for pid, each in found.items() if pid != os.getpid()]
    assert [each["name"] for each in others] == ["mkdir"] * 3
    assert all("mkdir" in str(each["requests"]) for each in others)


def test_two_may_watch_and_leave(daemon: Daemon) -> None:
    first, second = _watch(daemon.target, 0.05), _watch(daemon.target, 0.05)
    _next(first)
    _next(second)
    first.close()
    os.mkdir(daemon.target / "one")

    while os.getpid() not in _next(second):
        pass
    second.close()
    os.mkdir(daemon.target / "two")
    third = _watch(daemon.target, 0.05)

    assert _next(third) == {}  # what came before is not counted
    third.close()


def test_libfuse_does_not_tell_whose_requests_it_answers(scratch: Path) -> None:
    stack = Stack(scratch)
    with (
        serving(stack.spec, stack.plan, driver="pyfuse3") as served,
        pytest.raises(Failure, match="pyfuse3"),
    ):
        next(_watch(served.target, 1))
