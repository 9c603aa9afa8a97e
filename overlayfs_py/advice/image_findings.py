"""What advice on an image consists of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from overlayfs_py.advice.findings import Severity
    from overlayfs_py.advice.image_facts import FileFact

_NOP = re.compile(r"^(?:/bin/sh -c )?#\(nop\)\s+")
_SHELL = re.compile(
    r"^(?:RUN )?(?:\|\d+ .*? )?/bin/(?:ba|da|a)?sh (?:-o pipefail )?-\w*c ", re.DOTALL
)
_BUILDKIT = re.compile(r"\s*# buildkit$")


@dataclass(frozen=True, slots=True)
class Advice:
    """What could be better in an image, where, and how."""

    rule: str
    severity: Severity
    message: str
    layer: int | None = None  # where the bytes lie, the lowest is 0; None: in the config
    paths: tuple[bytes, ...] = ()  # the largest first
    rewrite: str = ""  # what to write instead
    # Bytes that the image would be smaller by, for each file by its `key`: counted once where
    # several pieces of advice are about one file.
    saves: Mapping[tuple[int, int], int] = field(default_factory=dict)

    @property
    def saved_bytes(self) -> int:
        """What following it saves."""
        return sum(self.saves.values())


def saved_by(pieces: Iterable[Advice]) -> int:
    """What following all of them saves, in bytes."""
    together: dict[tuple[int, int], int] = {}
    for advice in pieces:
        together.update(advice.saves)
    return sum(together.values())


def largest_first(facts: Iterable[FileFact]) -> tuple[bytes, ...]:
    """The paths of files, for `Advice`."""
    return tuple(fact.path for fact in sorted(facts, key=lambda fact: (-fact.size, fact.path)))


def instruction(created_by: str) -> str:
    """A line of the history as it stood in a Dockerfile."""
    text = _BUILDKIT.sub("", created_by.strip())
    if _NOP.match(text):
        return _NOP.sub("", text)
    if _SHELL.match(text):
        return f"RUN {_SHELL.sub('', text)}"
    return text


def command_of(text: str) -> str | None:
    """The command of a RUN, None for any other instruction."""
    return text.removeprefix("RUN ").strip() if text.startswith("RUN ") else None
