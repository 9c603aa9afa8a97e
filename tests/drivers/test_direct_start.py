"""A mount's first moments, in which trio is not loaded yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import mounting
from overlayfs_py.packs.values import PackOptions
from tests.drivers.serving import Daemon, Stack, serving, wait_until, with_driver
from tests.packs.layers import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 20
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
    stack = Stack(scratch)
    (stack.lower / "file").write_text("from below")
    return stack


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

    assert sorted(os.listdir(loading.target)) == ["file", "new"]
    assert (loading.target / "new").read_text() == "written meanwhile"


def test_who_has_to_wait_for_trio_holds_up_nobody(stack: Stack, loading: Daemon) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit((loading.target / "file").chmod, 0o600)
        try:
            listing = pool.submit(os.listdir, loading.target)
            assert listing.result(TIMEOUT_S) == ["file"]
            assert not waiting.done()
        finally:
            (stack.base / "go").touch()
        waiting.result(TIMEOUT_S)

    assert (stack.upper / "file").stat().st_mode & 0o777 == 0o600


def test_an_unmount_ends_the_daemon_while_trio_is_loaded(loading: Daemon) -> None:
    mounting.unmount(os.fsencode(loading.target))

    assert loading.wait() == 0


def test_a_program_is_started_before_trio_is_there_and_a_long_reader_waits(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads to decompress in come with trio; until then all others wait for each piece."""
    program = b"".join(b"%08d" % number for number in range(1 << 19))
    (stack.lower / "file").write_bytes(program)
    (stack.lower / "large").write_bytes(program * 20)
    packed = pack(stack.lower, stack.base / "lower.pack", PackOptions())
    go = stack.base / "go"
    monkeypatch.setenv("LOADING", os.fspath(stack.base / "loading"))
    monkeypatch.setenv("GO", os.fspath(go))
    spec = stack.spec._replace(lower=(os.fsencode(packed),))
    with (
        serving(spec, stack.plan, runner="slow_trio_runner") as daemon,
        ThreadPoolExecutor() as pool,
    ):
        small = pool.submit((daemon.target / "file").read_bytes)
        try:
            assert small.result(TIMEOUT_S) == program
            reading = pool.submit((daemon.target / "large").read_bytes)
            assert wait_until((stack.base / "loading").exists)
            assert sorted(os.listdir(daemon.target)) == ["file", "large"]
            assert not reading.done()
        finally:
            go.touch()
        assert reading.result(TIMEOUT_S) == program * 20


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


def test_a_mount_over_its_own_modules_answers(stack: Stack) -> None:
    """What is loaded late comes from the mount itself; the first change has to wait for it."""
    modules = os.fsencode(sys.prefix)
    spec = stack.spec._replace(lower=(modules,))
    plan = stack.plan._replace(target=modules)
    private = ("unshare", "--mount", "--propagation", "private", "--")
    with serving(spec, plan, prefix=private) as daemon:
        subprocess.run(
            [
                *("nsenter", f"--target={daemon.process.pid}", "--mount"),
                *("chmod", "0600", f"{sys.prefix}/pyvenv.cfg"),
            ],
            check=True,
            timeout=TIMEOUT_S,
        )
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0

    assert (stack.upper / "pyvenv.cfg").stat().st_mode & 0o777 == 0o600
