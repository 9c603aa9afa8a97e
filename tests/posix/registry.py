"""The table of POSIX checks: each is a function of a directory that holds the prepared tree.

A check may do what it likes in its directory. It raises AssertionError, or the OSError that it did
not expect, where the filesystem is wrong.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.trees import Node

    Run = Callable[[Path], None]

# What a filesystem may lack altogether. A check that needs it begins with it.
Need = Literal["fallocate", "seek_hole", "tmpfile", "ioctl"]

_CHECKS = "tests.posix.checks"
_NOTHING: Mapping[str, Node] = MappingProxyType({})
_table: dict[str, Check] = {}


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    name: str  # family.sentence
    run: Run
    needs: Need | None
    extra: Mapping[str, Node]  # objects that its prepared tree has on top


def check(
    *, needs: Need | None = None, extra: Mapping[str, Node] = _NOTHING
) -> Callable[[Run], Run]:
    """Put the function into the table, under its module's and its own name."""

    def register(run: Run) -> Run:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        assert name not in _table, name
        _table[name] = Check(name, run, needs, extra)
        return run

    return register


def all_checks() -> Mapping[str, Check]:
    """Return the table, by name."""
    for module in pkgutil.iter_modules(importlib.import_module(_CHECKS).__path__):
        importlib.import_module(f"{_CHECKS}.{module.name}")
    return MappingProxyType(_table)
