"""`idlepoll`: idle processors poll while requests come one after another, and halt afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import idle_polling
from overlayfs_py.drivers.idle_polling import IdlePolling, Wakefulness
from tests.drivers.serving import Daemon, Stack, serving, wait_until, with_driver
from tests.drivers.test_mounting import AS_NOBODY, fuse_device_for_everyone, give_to_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = Path("/dev/cpu_dma_latency")
MANY = 20_000


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


def holds(daemon: Daemon) -> bool:
    """Whether the daemon has the kernel keep idle processors from halting."""
    for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        try:
            if link.readlink() == DEVICE:
                return True
        except FileNotFoundError:  # closed meanwhile
            continue
    return False


def allowed_us() -> int:
    """How long an idle processor may take to wake, by the wish of the one who wants least."""
    return int.from_bytes(DEVICE.read_bytes(), "little")


@contextmanager
def somebody_who_asks(target: Path) -> Iterator[None]:
    """Meanwhile a thread asks for one missing name after another."""
    enough = threading.Event()

    def ask() -> None:
        number = 0
        while not enough.is_set():
            number += 1
            assert not (target / f"missing-{number}").exists()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def ask_closely(wakefulness: Wakefulness) -> None:
    """Report many requests, for longer than it takes to decide, however slow the machine is."""
    wakefulness.heed(0)
    end = time.monotonic_ns() + 2 * idle_polling._WINDOW_NS
    asked, decided = 0, False
    while not decided:
        decided = time.monotonic_ns() >= end
        asked += 10**9
        wakefulness.heed(asked)


def test_as_long_as_requests_come(stack: Stack) -> None:
    plan = stack.plan._replace(idle_polling=IdlePolling.ON)
    with serving(stack.spec, plan) as daemon:
        assert not holds(daemon)

        with somebody_who_asks(daemon.target):
            assert wait_until(lambda: holds(daemon) and allowed_us() == 0)
        assert wait_until(lambda: not holds(daemon))

        with somebody_who_asks(daemon.target):
            assert wait_until(lambda: holds(daemon))
        assert wait_until(lambda: not holds(daemon))


def test_not_for_requests_far_apart() -> None:
    wakefulness = Wakefulness(IdlePolling.ON)
    wakefulness.heed(0)
    for number in range(1, 5):
        time.sleep(idle_polling._PAYS_NS * 12 / 1e9)  # not a wait: the distance itself
        wakefulness.heed(number * 10)

        assert not wakefulness.holds
    wakefulness.close()


def test_not_by_a_path_that_the_mount_may_cover(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who serves a mount over /dev would wait there for an answer of its own."""
    devices = scratch / "dev"
    devices.mkdir()
    os.mknod(devices / "cpu_dma_latency", stat.S_IFCHR | 0o600, DEVICE.stat().st_rdev)
    monkeypatch.setattr(idle_polling, "_DEVICES", str(devices))
    with closing(Wakefulness(IdlePolling.ON)) as wakefulness:
        devices.rename(scratch / "elsewhere")
        ask_closely(wakefulness)

        assert wakefulness.holds
    assert not wakefulness.holds


def test_not_where_it_is_not_wanted(stack: Stack) -> None:
    plan = stack.plan._replace(idle_polling=IdlePolling.OFF)
    with serving(stack.spec, plan) as daemon:
        for number in range(MANY):
            assert not (daemon.target / f"missing-{number}").exists()
            assert number % 100 or not holds(daemon)


@pytest.mark.parametrize(
    ("processors", "idle_driver", "is_held"),
    [
        (2, "haltpoll\n", True),
        (8, "haltpoll\n", True),
        (1, "haltpoll\n", False),
        (9, "haltpoll\n", False),
        (2, "intel_idle\n", False),
        (2, None, False),
    ],
)
def test_by_itself_on_small_virtual_machines_alone(
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    processors: int,
    idle_driver: str | None,
    is_held: bool,
) -> None:
    described = scratch / "current_driver"
    if idle_driver is not None:
        described.write_text(idle_driver)
    monkeypatch.setattr(idle_polling, "_IDLE_DRIVER", str(described))
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    wakefulness = Wakefulness(IdlePolling.AUTO)
    ask_closely(wakefulness)

    assert wakefulness.holds is is_held
    wakefulness.rest()
    assert not wakefulness.holds
    wakefulness.close()


def test_who_may_not_is_told_once_and_served(stack: Stack) -> None:
    give_to_nobody(stack)
    plan = stack.plan._replace(idle_polling=IdlePolling.ON, allow_other=False)
    look = (
        f"import os; os.chdir({os.fspath(stack.target)!r}); "
        f"print(sum(os.path.exists(str(number)) for number in range({MANY})))"
    )
    with fuse_device_for_everyone(), serving(stack.spec, plan, prefix=AS_NOBODY) as daemon:
        found = subprocess.run(
            [*AS_NOBODY, sys.executable, "-c", look],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        daemon.expected_words = (
            "WARNING:overlayfs_py.drivers.idle_polling:"
            "idlepoll=on: /dev/cpu_dma_latency: Permission denied; going on without\n"
        )

    assert found.stdout == "0\n"
