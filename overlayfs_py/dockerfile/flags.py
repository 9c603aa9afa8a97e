"""Flags of instructions: `--name=value`, some of them any number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.dockerfile.errors import did_you_mean
from overlayfs_py.dockerfile.words import Word
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.dockerfile.lines import Statement

_SWITCHES = {"": True, "true": True, "false": False}


class FlagNames(Struct, frozen=True):
    """The flags that an instruction has."""

    switches: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every name, without dashes."""
        return self.switches + self.single + self.repeated


class Flags:
    """The flags that one instruction was given."""

    def __init__(self, instruction: str, statement: Statement) -> None:
        self._instruction = instruction
        self._statement = statement
        self._values: dict[str, list[Word]] = {}

    def read(self, words: Sequence[Word], names: FlagNames) -> None:
        """Read `words`.

        Raises:
            DockerfileError: one is not among `names`, is there twice, or lacks a value.
        """
        for word in words:
            name, equals, value = word.text.removeprefix("--").partition("=")
            if name not in names.all:
                hint = _hint(name, names) or f": {_offered(self._instruction, names)}"
                raise self._statement.error(
                    word.offset, f"unknown flag {quoted('--' + name)} of {self._instruction}{hint}"
                )
            if name in self._values and name not in names.repeated:
                raise self._statement.error(word.offset, f"the flag --{name} is there twice")
            if (equals or name not in names.switches) and not (value or name not in names.switches):
                raise self._statement.error(word.offset, f"--{name}= lacks a value")
            if not equals and name not in names.switches:
                raise self._statement.error(word.offset, f"--{name} lacks a value: --{name}=...")
            if name in names.switches and value.lower() not in _SWITCHES:
                raise self._statement.error(
                    word.offset, f"--{name}={quoted(value)}: expected true or false"
                )
            values = self._values.setdefault(name, [])
            values.append(Word(value, word.offset + len(name) + len("--=")))

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag."""
        return self._values[name][0].text if name in self._values else default

    def word(self, name: str) -> Word | None:
        """The value of a flag and where it stands, None if it was not given."""
        return self._values[name][0] if name in self._values else None

    def words(self, name: str) -> list[Word]:
        """The values of a flag that may be given several times."""
        return self._values.get(name, [])

    def switch(self, name: str) -> bool | None:
        """What a switch was set to, None if it was not given."""
        return _SWITCHES[self.text(name).lower()] if name in self._values else None


def _hint(name: str, names: FlagNames) -> str:
    return did_you_mean("--" + name, [f"--{known}" for known in names.all])


def _offered(instruction: str, names: FlagNames) -> str:
    if not names.all:
        return f"{instruction} has none"
    return "there are " + ", ".join(f"--{name}" for name in names.all)
