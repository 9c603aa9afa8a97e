"""Polling the device: only while it pays, for a bounded time, and never when idle."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from overlayfs_py.drivers import direct_device
from overlayfs_py.drivers.direct_device import Device
from overlayfs_py.drivers.idle_polling import IdlePolling, Wakefulness
from tests.drivers.serving import Stack, serving, with_driver
from tests.drivers.test_copyups import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long it polls depends on how soon others answer, and an idle machine on all of them.
pytestmark = pytest.mark.alone

SIZE_BYTES = 8192
TIMEOUT_S = 10


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What plays the kernel, and what plays /dev/fuse."""
    kernel, fuse = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, fuse:
        fuse.setblocking(False)
        yield kernel, fuse


@pytest.fixture
def kernel(ends: tuple[socket.socket, socket.socket]) -> socket.socket:
    return ends[0]


@pytest.fixture
def device(ends: tuple[socket.socket, socket.socket]) -> Device:
    return Device(ends[1].fileno(), SIZE_BYTES, Wakefulness(IdlePolling.OFF))


async def wait_for_one_that_comes_soon(device: Device, kernel: socket.socket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(device.wait)
        await trio.lowlevel.checkpoint()
        kernel.send(b"soon")
    assert device.try_read() == b"soon"


async def grow(device: Device, kernel: socket.socket) -> None:
    """Send until the budget is all that it may be; a busy machine delays some."""
    with trio.fail_after(TIMEOUT_S):
        while device._budget_ns < direct_device._MOST_NS:
            await wait_for_one_that_comes_soon(device, kernel)


def test_a_new_mount_does_not_poll(
    device: Device, kernel: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_yield")  # between two looks
    kernel.send(b"there")

    assert device.poll() == b"there"
    assert device.poll() is None
    assert device.requests == 1


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ECONNABORTED])
def test_a_mount_that_goes_away_during_a_read_is_gone(
    device: Device, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The second is a race that only the kernel can stage: a request that nobody waits for."""

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "readv", fail)

    assert device.try_read() is None
    assert device.gone


@pytest.mark.trio
async def test_requests_that_come_soon_make_it_poll(device: Device, kernel: socket.socket) -> None:
    await grow(device, kernel)
    kernel.send(b"polled")

    assert device.poll() == b"polled"
    assert device._budget_ns == direct_device._MOST_NS


@pytest.mark.trio
async def test_polling_takes_in_what_comes_while_it_polls(
    device: Device, kernel: socket.socket
) -> None:
    await grow(device, kernel)
    device._budget_ns = 5 * 10**9  # as the machine may be slow to start a thread
    sender = threading.Timer(0.01, kernel.send, [b"later"])
    sender.start()
    request = device.poll()
    sender.join()

    assert request == b"later"


@pytest.mark.trio
async def test_polls_in_vain_become_shorter_and_end(device: Device, kernel: socket.socket) -> None:
    await grow(device, kernel)
    budgets = []
    begun = time.perf_counter()
    while device._budget_ns:
        budgets.append(device._budget_ns)
        assert device.poll() is None
    took_s = time.perf_counter() - begun

    assert budgets == sorted(budgets, reverse=True)
    assert len(budgets) < 10
    assert took_s < 1  # 120 us, unless others have the processor
    assert device.poll() is None


@pytest.mark.trio
async def test_requests_that_come_late_do_not_make_it_poll(
    device: Device, kernel: socket.socket
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(device.wait)
        await trio.sleep(direct_device._SOON_NS * 10 / 1e9)
        kernel.send(b"late")

    assert device._budget_ns == 0


@pytest.mark.trio
async def test_with_one_processor_it_never_polls(
    ends: tuple[socket.socket, socket.socket], kernel: socket.socket
) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        device = Device(ends[1].fileno(), SIZE_BYTES, Wakefulness(IdlePolling.OFF))
    finally:
        os.sched_setaffinity(0, allowed)
    for _ in range(20):
        await wait_for_one_that_comes_soon(device, kernel)

    assert device._budget_ns == 0


def ticks(pid: int) -> int:
    """Processor time of a process, its own and in the kernel, in units of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def switches(pid: int) -> int:
    """How often a process has slept and woken up."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", status)))


def at_rest(pid: int) -> tuple[int, int]:
    """Both, once nothing moves: trio is loaded when nobody has asked for a moment."""
    deadline = time.monotonic() + 10
    before, now = None, (ticks(pid), switches(pid))
    while now != before:
        assert time.monotonic() < deadline, "it never rests"
        time.sleep(0.3)
        before, now = now, (ticks(pid), switches(pid))
    return now


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


def test_an_idle_mount_uses_no_processor(stack: Stack) -> None:
    with serving(stack.spec, stack.plan) as daemon:
        for number in range(200):  # so that it polls
            (stack.target / f"file-{number}").touch()
        pid = daemon.process.pid
        before = at_rest(pid)
        time.sleep(3)
        after = ticks(pid), switches(pid)

    assert after == before


HAMMER = """
import os, sys, time
top, name, slowest, count = sys.argv[1], sys.argv[2], 0.0, 0
print(flush=True)
while not os.path.exists(sys.argv[3]):
    begun = time.monotonic()
    try:
        os.stat(f"{top}/{name}-{count}")
    except FileNotFoundError:
        pass
    slowest = max(slowest, time.monotonic() - begun)
    count += 1
print(slowest, count)
"""
HAMMERS = 8


def test_many_are_served_while_a_gigabyte_is_copied_up(stack: Stack) -> None:
    fill(stack.lower / "large", 1 << 30)
    (stack.lower / "elsewhere").mkdir()
    end = stack.base / "end"
    with serving(stack.spec, stack.plan):
        hammers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-c", HAMMER, stack.target / "elsewhere", f"absent-{number}"),
                    end,
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(HAMMERS)
        ]
        for hammer in hammers:
            assert hammer.stdout is not None
            hammer.stdout.readline()
        begun = time.monotonic()
        os.chmod(stack.target / "large", 0o600)
        copied_s = time.monotonic() - begun
        end.touch()
        told = [hammer.communicate(timeout=TIMEOUT_S)[0].split() for hammer in hammers]
    slowest_s = max(float(slowest) for slowest, _ in told)
    answered = sum(int(count) for _, count in told)

    print(f"copy-up {copied_s:.2f} s, {answered} lookups, slowest {slowest_s * 1e3:.0f} ms")
    assert (stack.upper / "large").stat().st_size == 1 << 30
    assert answered > 100 * HAMMERS
    assert slowest_s < copied_s / 2
