"""A Dockerfile's bytes as statements: logical lines, with the comments and heredocs of each."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from overlayfs_py.dockerfile.directives import Directives, read_check, read_directive
from overlayfs_py.dockerfile.errors import DockerfileError, Position
from overlayfs_py.dockerfile.heredocs import Heredoc, HeredocMark
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_BYTES = 1 << 24
LONGEST_LINE = (1 << 16) - 1  # characters; BuildKit has the same limit
# One argument of execve(2) has 2**17 at most, so no longer RUN could run.
LONGEST_STATEMENT = 1 << 20
_BOM = "\ufeff"
_NOT_UTF8 = late_pattern("[\udc80-\udcff]")
_ESCAPES = "\\`"


class Statement(Struct, frozen=True):
    """A logical line: physical ones put together where the escape character ends them."""

    text: str
    comments: tuple[str, ...]  # right above it, without `#`
    empty_lines: tuple[int, ...]  # numbers of the empty lines inside it
    last_line: int
    source: Source
    # Where each physical line begins: in `text`, in the file, and in its line.
    starts: tuple[tuple[int, int, int], ...]

    def position(self, offset: int) -> Position:
        """Where the character at `offset` of `text` is in the file."""
        start, line, column = self.starts[bisect_right(self.starts, (offset, 1 << 62, 0)) - 1]
        return Position(self.source.name, line, column + offset - start)

    def error(self, offset: int, reason: str) -> DockerfileError:
        """An error at the character at `offset` of `text`."""
        return self.source.error(self.position(offset), reason)


class Source:
    """A Dockerfile's lines, read from first to last."""

    def __init__(self, text: bytes, name: str) -> None:
        """`name` is the file's, for messages.

        Raises:
            DockerfileError: it is too large.
        """
        self.name = name
        self.directives = Directives()
        if len(text) > LARGEST_BYTES:
            start = text[:LONGEST_LINE].split(b"\n")[0].decode(errors="surrogateescape")
            raise DockerfileError(
                Position(name, 1),
                f"{len(text)} bytes: a Dockerfile has at most {LARGEST_BYTES}",
                start,
            )
        decoded = text.decode("utf-8", "surrogateescape").removeprefix(_BOM)
        self._lines = decoded.split("\n")
        self._ends_open = self._lines[-1] != ""  # the last line has no end
        if not self._ends_open:
            self._lines.pop()
        self._next = 0
        self._read_directives()
        escape = re.escape(self.directives.escape)
        self._continued = re.compile(rf"(?<!{escape}){escape}[ \t]*\Z")

    @property
    def last_line(self) -> int:
        """The number of the line that was read last."""
        return self._next

    def error(self, position: Position, reason: str) -> DockerfileError:
        """An error at a place in this file."""
        line = self._lines[position.line - 1] if position.line <= len(self._lines) else ""
        return DockerfileError(position, reason, line)

    def next_statement(self) -> Statement | None:
        """Read the next one; None at the end.

        Raises:
            DockerfileError: a line is too long, or its text is not UTF-8.
        """
        comments: list[str] = []
        while self._next < len(self._lines):
            line = self._read_line()
            stripped = line.lstrip(SPACES)
            if stripped.startswith("#"):
                _add_comment(comments, stripped, is_directive=self._next <= self._directive_lines)
            elif stripped:
                return self._statement(line, comments)
        return None

    def heredoc(self, mark: HeredocMark, announced: Statement, offset: int) -> Heredoc:
        """Read the lines below the statement that was read last, up to the end of the heredoc.

        Raises:
            DockerfileError: it has none.
        """
        first = self._next + 1
        lines: list[str] = []
        while self._next < len(self._lines):
            line = self._read_line()
            ending = line.rstrip("\r")
            if (ending.lstrip("\t") if mark.strip_tabs else ending) == mark.name:
                return Heredoc(mark, "".join(lines), first)
            last = self._next == len(self._lines) and self._ends_open
            lines.append(line if last else line + "\n")
        raise announced.error(
            offset, f"this heredoc does not end: expected a line {quoted(mark.name)} below it"
        )

    def _read_line(self) -> str:
        line = self._lines[self._next]
        self._next += 1
        if len(line) > LONGEST_LINE:
            raise self.error(
                Position(self.name, self._next),
                f"a line of {len(line)} characters: it has at most {LONGEST_LINE}",
            )
        return line

    def _read_directives(self) -> None:
        self._directive_lines = 0
        found: dict[str, str] = {}
        shebang = bool(self._lines) and self._lines[0].startswith("#!")
        for number, line in enumerate(self._lines[int(shebang) :], 1 + int(shebang)):
            text = line[:LONGEST_LINE].rstrip("\r").lstrip(SPACES)
            directive = read_directive(text)
            if directive is None:
                break
            name, value = directive
            column = line.index("#") + 1
            if name in found:
                raise self.error(
                    Position(self.name, number, column), f"the directive {name} is there twice"
                )
            if name == "escape" and value not in _ESCAPES:
                raise self.error(
                    Position(self.name, number, column),
                    f"escape={quoted(value)}: expected one of \\ and `",
                )
            found[name] = value
            self._directive_lines = number
        self.directives = Directives(
            found.get("syntax"),
            # After a shebang BuildKit's parser takes no more of it.
            "\\" if shebang else found.get("escape", "\\"),
            read_check(found.get("check", "")),
        )

    def _statement(self, line: str, comments: Sequence[str]) -> Statement:
        first_column = len(line) - len(line.lstrip(SPACES)) + 1
        text, goes_on = self._without_continuation(line.rstrip("\r").lstrip(SPACES))
        parts, starts = [text], [(0, self._next, first_column)]
        size = len(text)
        empty: list[int] = []
        while goes_on and self._next < len(self._lines):
            line = self._read_line().rstrip("\r")
            stripped = line.lstrip(SPACES)
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty.append(self._next)
                continue
            starts.append((size, self._next, 1))
            text, goes_on = self._without_continuation(line)
            parts.append(text)
            size += len(text)
            if size > LONGEST_STATEMENT:
                raise self.error(
                    Position(self.name, starts[0][1], first_column),
                    f"an instruction of more than {LONGEST_STATEMENT} characters",
                )
        statement = Statement(
            "".join(parts), tuple(comments), tuple(empty), self._next, self, tuple(starts)
        )
        _require_text(statement)
        return statement

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        found = self._continued.search(line)
        return (line, False) if found is None else (line[: found.start()], True)


def with_last_line(statement: Statement) -> Statement:
    """The statement, after its heredocs have been read."""
    return structs.replace(statement, last_line=statement.source.last_line)


def _add_comment(comments: list[str], line: str, *, is_directive: bool) -> None:
    text = line[1:].strip(SPACES)
    if not text:
        comments.clear()
    elif not is_directive:
        comments.append(text)


def _require_text(statement: Statement) -> None:
    bad = _NOT_UTF8.search(statement.text)
    if bad is not None:
        code = ord(bad[0]) - 0xDC00
        raise statement.error(bad.start(), f"byte 0x{code:02x} is not UTF-8")
    nul = statement.text.find("\0")
    if nul >= 0:
        raise statement.error(nul, "a NUL byte: a Dockerfile is text")
