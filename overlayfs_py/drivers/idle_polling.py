"""Have idle processors poll while requests come closely one after another.

Who waits for our answer leaves a processor idle, and so do we while we wait for a request. In a
virtual machine an idle processor halts, and waking it is an exit to the host: 50 us a round trip
of two processes on two processors, 5 us where the idle one polls (measured). The kernel lets it
poll while somebody holds /dev/cpu_dma_latency at 0 (Documentation/power/pm_qos_interface.rst);
what is held ends with the descriptor, however the process ends.

That holds for all idle processors of the machine. So it is for small machines by itself, as long
as requests come, and never on an idle mount.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_DEVICES = "/dev"
_DEVICE = "cpu_dma_latency"
_POLL = bytes(4)  # no microsecond: the form is that of a number in memory (kernel/power/qos.c)
_IDLE_DRIVER = "/sys/devices/system/cpu/cpuidle/current_driver"
# The idle driver for virtual machines: it knows to poll and to halt, and nothing between them.
_OF_GUESTS = "haltpoll"
# Guess: what more processors would spend on polling is not worth what one of them waits for.
_MOST_PROCESSORS = 8
# Between two decisions: short beside what a person notices, long beside a request.
_WINDOW_NS = 2_000_000
# Requests that come no further apart than this, on average, gain at least a fifth (measured).
_PAYS_NS = 250_000


class IdlePolling(Enum):
    """When to ask the kernel for it."""

    AUTO = "auto"  # where it is known to pay: on a small virtual machine, as root
    ON = "on"  # wherever the kernel lets us
    OFF = "off"


class Wakefulness:
    """Whether the idle processors poll on our behalf."""

    def __init__(self, wanted: IdlePolling) -> None:
        """Open what is needed of the machine; to be called before the mount exists.

        Where it covers /dev or /sys, who serves it would wait for itself there.
        """
        self._wanted = wanted
        self._devices_fd: int | None = None  # None: it is not to be, or cannot
        self._fd: int | None = None  # while they do
        if wanted is IdlePolling.ON or (wanted is IdlePolling.AUTO and _is_small_guest()):
            with self._telling():
                self._devices_fd = os.open(_DEVICES, os.O_PATH | os.O_DIRECTORY)
        self._since_ns = 0
        self._seen = 0

    @property
    def holds(self) -> bool:
        """Whether they do; `rest` ends it."""
        return self._fd is not None

    def heed(self, requests: int) -> None:
        """Decide anew, now and then, by how many `requests` there have been in all."""
        now_ns = time.perf_counter_ns()
        elapsed_ns = now_ns - self._since_ns
        if elapsed_ns < _WINDOW_NS:
            return
        pays = (requests - self._seen) * _PAYS_NS >= elapsed_ns
        self._since_ns, self._seen = now_ns, requests
        if not pays:
            self.rest()
        elif self._fd is None and self._devices_fd is not None:
            self._rouse(self._devices_fd)

    def rest(self) -> None:
        """Let processors halt again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Let them halt, and do without from now on."""
        self.rest()
        if self._devices_fd is not None:
            os.close(self._devices_fd)
            self._devices_fd = None

    def _rouse(self, devices_fd: int) -> None:
        with self._telling():
            self._fd = os.open(_DEVICE, os.O_WRONLY, dir_fd=devices_fd)
            os.write(self._fd, _POLL)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Go on without it where it cannot be had, and say so to who asked for it."""
        try:
            yield
        except OSError as error:
            self.close()
            if self._wanted is IdlePolling.ON:
                place = f"{_DEVICES}/{_DEVICE}"
                log.warning("idlepoll=on: %s: %s; going on without", place, error.strerror)


def _is_small_guest() -> bool:
    if not 1 < (os.cpu_count() or 1) <= _MOST_PROCESSORS:
        return False
    try:
        with open(_IDLE_DRIVER) as file:
            return file.read().strip() == _OF_GUESTS
    except OSError:  # a kernel without drivers for idle processors, or no sysfs here
        return False
