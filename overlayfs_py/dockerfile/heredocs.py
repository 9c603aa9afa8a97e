"""Heredocs: `<<EOF` in an instruction, and the lines below it up to `EOF`."""

from __future__ import annotations

import re

from msgspec import Struct

from overlayfs_py.dockerfile.errors import ExpansionError
from overlayfs_py.dockerfile.expansion import Text, Variable, template
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.late_import import late_pattern

_MARK = late_pattern(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)", re.DOTALL)
_LEADING_TABS = late_pattern(r"^\t+", re.MULTILINE)
_SPLITTING = late_pattern(f"[{SPACES}]+")


class HeredocMark(Struct, frozen=True):
    """What announces a heredoc."""

    name: str  # the line that ends it, and for COPY the name of the file
    expand: bool  # no part of the name was quoted, so variables in the body count
    strip_tabs: bool  # `<<-`
    descriptor: int = 0


class Heredoc(Struct, frozen=True):
    """A mark and the lines below it.

    Bytes of the file that are not UTF-8 are lone surrogates in `content` (PEP 383).
    """

    mark: HeredocMark
    content: str  # as in the file, each line with its end
    first_line: int

    @property
    def name(self) -> str:
        """The name of the file that it makes."""
        return self.mark.name

    @property
    def body(self) -> str:
        """The content, without leading tabs where `<<-` asks for that."""
        return _LEADING_TABS.sub("", self.content) if self.mark.strip_tabs else self.content


def parse_mark(word: str) -> HeredocMark | None:
    """Read a word as the mark of a heredoc, if it is one and nothing else."""
    found = _MARK.fullmatch(word)
    if found is None or not found[3]:
        return None
    try:
        parts = template(found[3]).parts
    except ExpansionError:
        return None
    name = _split([(_kept(part), part.quoting) for part in parts])
    if len(name) != 1:
        return None
    quoted = any(part.quoting in ("'", '"') for part in parts)
    return HeredocMark(name[0], not quoted, found[2] == "-", int(found[1][-9:] or 0))


def find_marks(line: str) -> list[HeredocMark]:
    """The heredocs that a line announces, in the order in which their bodies follow.

    A line with an open quote announces none: it is for the shell to complain about.
    """
    if "<<" not in line:
        return []
    try:
        parts = template(line).parts
    except ExpansionError:
        return []
    words = _split([(part.source, part.quoting) for part in parts])
    return [mark for word in words if (mark := parse_mark(word)) is not None]


def _kept(part: Text | Variable) -> str:
    # Names of heredocs have no variables: `$` and what follows is part of the name.
    return part.text if isinstance(part, Text) else part.source


def _split(parts: list[tuple[str, str]]) -> list[str]:
    words = [""]
    for text, quoting in parts:
        if quoting:
            words[-1] += text
        else:
            first, *others = _SPLITTING.split(text)
            words[-1] += first
            words += others
    return [word for word in words if word]
