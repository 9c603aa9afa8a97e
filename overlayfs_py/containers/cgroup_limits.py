"""What a container may use of the machine, and how each kind of cgroup hierarchy says it.

Sources: the kernel's admin-guide, cgroup-v2.rst and cgroup-v1/; moby, daemon/daemon_unix.go, for
what docker's options mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.store.containers import ContainerRecord

UNLIMITED = -1
_PERIOD_US = 100_000


class Setting(NamedTuple):
    """A value for a file of a controller."""

    controller: str
    file: str
    value: str
    is_optional: bool = False  # whether a kernel may be built without


class Limits(NamedTuple):
    """Limits of one container; 0 where there is none."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0  # of memory and swap; 0: as docker, twice the memory
    nano_cpus: int = 0  # thousand millions are one processor
    pids: int = 0

    @classmethod
    def of(cls, record: ContainerRecord) -> Limits:
        return cls(record.memory_bytes, record.memory_swap_bytes, record.nano_cpus, record.pids)

    @property
    def options(self) -> dict[str, str]:
        """The controllers that are needed, and the option that each is needed for."""
        asked = {
            "memory": ("--memory", self.memory_bytes),
            "cpu": ("--cpus", self.nano_cpus),
            "pids": ("--pids-limit", self.pids),
        }
        return {controller: option for controller, (option, limit) in asked.items() if limit > 0}

    def settings(self, *, unified: bool) -> Iterator[Setting]:
        """What to write, in this order; `unified` means version 2."""
        if self.memory_bytes:
            yield from self._memory(unified=unified)
        if self.nano_cpus:
            quota = max(1000, self.nano_cpus * _PERIOD_US // 10**9)  # the kernel's least
            if unified:
                yield Setting("cpu", "cpu.max", f"{quota} {_PERIOD_US}")
            else:
                yield Setting("cpu", "cpu.cfs_period_us", str(_PERIOD_US))
                yield Setting("cpu", "cpu.cfs_quota_us", str(quota))
        if self.pids > 0:
            yield Setting("pids", "pids.max", str(self.pids))

    def _memory(self, *, unified: bool) -> Iterator[Setting]:
        both = self.memory_swap_bytes or 2 * self.memory_bytes
        if unified:
            swap = "max" if both == UNLIMITED else str(both - self.memory_bytes)
            yield Setting("memory", "memory.max", str(self.memory_bytes))
            yield Setting("memory", "memory.swap.max", swap, is_optional=True)
        else:
            yield Setting("memory", "memory.limit_in_bytes", str(self.memory_bytes))
            yield Setting("memory", "memory.memsw.limit_in_bytes", str(both), is_optional=True)
