"""What a workload is: work that every side has to do, of which some parts are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.benchmarks.session import Session
    from scripts.benchmarks.sides import Side


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    files: int = 2000
    chroots: int = 150
    created: int = 3000
    renamed: int = 800
    touched: int = 1000
    packaged: int = 400
    large_mib: int = 256
    written_mib: int = 512
    crowd: int = 100_000
    crowd_operations: int = 5000
    walked: int = 500_000
    copied_mib: int = 4096
    hammers: int = 8
    idle_s: int = 60
    mounts: int = 5


QUICK = Scale(
    files=500,
    chroots=20,
    created=500,
    renamed=200,
    touched=200,
    packaged=100,
    large_mib=64,
    written_mib=64,
    crowd=10_000,
    crowd_operations=1000,
    walked=50_000,
    copied_mib=256,
    idle_s=5,
    mounts=2,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Work on a fresh mount."""

    name: str
    cases: tuple[str, ...]  # what is measured, in order, as the reports call it
    run: Callable[[Session], None]
    stack: Callable[[Scale], str]
    unit: str
    also: tuple[str, ...]  # sides that are measured with every choice of sides
    applies: Callable[[Side], bool]
    is_mounted: bool  # False: it mounts by itself
    is_steady: bool  # once is enough
    is_read_only: bool  # on a mount without an upper


class Family(list[Workload]):
    """The workloads of a module, in the order of their definitions."""

    def add(
        self,
        name: str,
        *cases: str,
        stack: str | Callable[[Scale], str] = "debian",
        unit: str = "s",
        also: tuple[str, ...] = (),
        applies: Callable[[Side], bool] = lambda _: True,
        is_mounted: bool = True,
        is_steady: bool = False,
        is_read_only: bool = False,
    ) -> Callable[[Callable[[Session], None]], Callable[[Session], None]]:
        """Return a decorator that adds a function as a workload."""

        def register(run: Callable[[Session], None]) -> Callable[[Session], None]:
            workload = Workload(
                name=name,
                cases=cases,
                run=run,
                stack=stack if callable(stack) else lambda _: stack,
                unit=unit,
                also=also,
                applies=applies,
                is_mounted=is_mounted,
                is_steady=is_steady,
                is_read_only=is_read_only,
            )
            self.append(workload)
            return run

        return register


def has_daemon(side: Side) -> bool:
    """Whether a side is served by a process that can be looked at."""
    return side.has_daemon


def is_overlay(side: Side) -> bool:
    """Whether a side has layers at all."""
    return side.command is not None
