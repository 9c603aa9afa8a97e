"""A mount's first moments, in which trio is not loaded yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import mounting
from tests.drivers.serving import Daemon, Stack, serving, wait_until, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HAMMER = """
import os, sys
number = 0
print(flush=True)
while True:
    number += 1
    try:
        os.stat(f"{sys.argv[1]}/missing-{number}")
    except FileNotFoundError:
        pass
    except OSError:
        break  # unmounted
    if not os.path.ismount(sys.argv[1]):
        break
"""


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@pytest.fixture
def loading(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that is loading trio, which goes on until its end."""
    begun = stack.base / "loading"
    monkeypatch.setenv("LOADING", os.fspath(begun))
    monkeypatch.setenv("GO", os.fspath(stack.base / "go"))
    with serving(stack.spec, stack.plan, runner="slow_trio_runner") as daemon:
        assert wait_until(begun.exists)
        yield daemon
        (stack.base / "go").touch()


def test_requests_are_answered_while_trio_is_loaded(loading: Daemon) -> None:
    (loading.target / "new").write_text("written meanwhile")

    assert os.listdir(loading.target) == ["new"]
    assert (loading.target / "new").read_text() == "written meanwhile"


def test_an_unmount_ends_the_daemon_while_trio_is_loaded(loading: Daemon) -> None:
    mounting.unmount(os.fsencode(loading.target))

    assert loading.wait() == 0


def test_a_signal_is_heeded_by_a_mount_that_is_never_left_alone(stack: Stack) -> None:
    argv = [sys.executable, "-c", HAMMER, stack.target]
    with (
        serving(stack.spec, stack.plan) as daemon,
        subprocess.Popen(argv, stdout=subprocess.PIPE) as hammer,
    ):
        assert hammer.stdout is not None
        hammer.stdout.readline()
        daemon.signal(signal.SIGTERM)
        try:
            ended = daemon.wait()
        finally:
            hammer.kill()

    assert ended == 0
    assert not daemon.is_mounted
