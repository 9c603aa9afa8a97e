"""The tree of a template. `str` of a node is how messages show it, and `at` where it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Dot:
    """`.`: the value at hand."""

    at: int

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True, slots=True)
class Nil:
    """`nil`."""

    at: int

    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`."""

    at: int
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class Number:
    """A constant without a type; what it can be is not None."""

    at: int
    text: str
    integer: int | None  # beyond an int64 where only a uint64 holds it
    fraction: float | None

    @property
    def looks_fractional(self) -> bool:
        """Whether it is a float where nobody asks for a type."""
        is_hex = self.text[:2].lower() == "0x" and not set(self.text) & set("pP")
        return not is_hex and self.text[0] != "'" and bool(set(self.text) & set(".eEpP"))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class String:
    """A constant in double quotes or backquotes."""

    at: int
    quoted: str
    value: str

    def __str__(self) -> str:
        return self.quoted


@dataclass(frozen=True, slots=True)
class Identifier:
    """The name of a function."""

    at: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Fields:
    """`.A.B`."""

    at: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Variable:
    """`$`, `$x` or `$x.A.B`."""

    at: int
    name: str  # with its dollar sign
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *self.fields))


@dataclass(frozen=True, slots=True)
class Chain:
    """`(pipeline).A.B`, or the fields of what a function returns."""

    at: int
    start: Operand
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _in_parentheses(self.start) + "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Command:
    """An operand, or a function with its arguments."""

    at: int
    words: tuple[Operand, ...]  # at least one

    def __str__(self) -> str:
        return " ".join(map(_in_parentheses, self.words))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each the last argument of the next, and the variables that keep the result."""

    at: int
    variables: tuple[Variable, ...]
    assigns: bool  # to variables that are there already
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        sign = " = " if self.assigns else " := "
        names = ", ".join(map(str, self.variables))
        return (names + sign if names else "") + " | ".join(map(str, self.commands))


@dataclass(frozen=True, slots=True)
class Text:
    """What is not between braces."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose result is printed."""

    at: int
    pipeline: Pipeline

    def __str__(self) -> str:
        return f"{{{{{self.pipeline}}}}}"


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range`."""

    at: int
    keyword: str
    pipeline: Pipeline
    body: Sequence[Node]
    otherwise: Sequence[Node] | None

    def __str__(self) -> str:
        return f"{{{{{self.keyword} {self.pipeline}}}}}"


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    at: int
    keyword: str


@dataclass(frozen=True, slots=True)
class Call:
    """`template "name" pipeline`."""

    at: int
    quoted: str
    name: str
    pipeline: Pipeline | None

    def __str__(self) -> str:
        argument = "" if self.pipeline is None else f" {self.pipeline}"
        return f"{{{{template {self.quoted}{argument}}}}}"


Operand: TypeAlias = (
    Dot | Nil | Boolean | Number | String | Identifier | Fields | Variable | Chain | Pipeline
)
Node: TypeAlias = Text | Action | Branch | Jump | Call
Placed: TypeAlias = Operand | Node | Command


def _in_parentheses(operand: Operand) -> str:
    return f"({operand})" if isinstance(operand, Pipeline) else str(operand)
