"""What advice consists of: rules, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.advice.view import View
    from overlayfs_py.dockerfile.errors import Position


class Severity(IntEnum):
    """How much a finding matters."""

    STYLE = 0
    INFO = 1
    WARNING = 2
    ERROR = 3  # the build fails, or the image does not do what it says

    @property
    def word(self) -> str:
        """The word for it, in small letters."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Found:
    """One place where a rule does not hold."""

    position: Position
    message: str  # what is there
    cost: str = ""  # what it costs
    rewrite: str = ""  # what to write instead
    bytes: int | None = None  # what the cost is in the image, where that is known
    seconds: float | None = None  # of each build, where earlier ones tell
    last_line: int = 0  # of the instruction; 0 for the line of `position`


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for Dockerfiles."""

    name: str  # BuildKit's where it has the rule
    severity: Severity
    summary: str
    check: Callable[[View], Iterable[Found]]
    also: tuple[str, ...] = ()  # hadolint's codes for it, which work in its ignore comments

    @property
    def names(self) -> frozenset[str]:
        """Everything that it goes by, in small letters."""
        return frozenset(name.lower() for name in (self.name, *self.also))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found, and the rule."""

    rule: Rule
    found: Found
