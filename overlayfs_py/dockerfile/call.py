"""One instruction as its reader gets it: the keyword, flags, the words behind them, heredocs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from overlayfs_py.dockerfile.errors import ExpansionError
from overlayfs_py.dockerfile.expansion import Template, template
from overlayfs_py.dockerfile.flags import FlagNames, Flags
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.dockerfile.words import NotStrings, Word, parse_json, split_flags

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.errors import DockerfileError, Position
    from overlayfs_py.dockerfile.heredocs import Heredoc
    from overlayfs_py.dockerfile.lines import Statement

_WITH_JSON = ("ADD", "COPY", "RUN", "CMD", "ENTRYPOINT", "SHELL", "VOLUME")


class Common(TypedDict):
    """The fields that every instruction has."""

    position: Position
    last_line: int
    source: str
    keyword: str
    comments: tuple[str, ...]
    empty_lines: tuple[int, ...]
    starts: tuple[tuple[int, int, int], ...]


class Call:
    """An instruction, split but not yet typed."""

    def __init__(self, statement: Statement, keyword: Word, rest: Word, escape: str) -> None:
        self.statement = statement
        self.keyword = keyword
        self.name = keyword.text.upper()
        self.escape = escape
        self.heredocs: tuple[Heredoc, ...] = ()
        self._flags, self.rest = split_flags(rest, escape)
        self.json = self.strings(self.rest) if self.name in _WITH_JSON else None

    @property
    def is_json(self) -> bool:
        """Whether its words are a JSON array."""
        return self.json is not None

    def error(self, reason: str, at: Word | None = None) -> DockerfileError:
        """An error at a word, at the keyword if none is given."""
        return self.statement.error((at or self.keyword).offset, reason)

    def strings(self, word: Word) -> tuple[str, ...] | None:
        """The strings of a JSON array; None if it is none."""
        try:
            return parse_json(word.text)
        except NotStrings:
            raise self.error("a JSON array of something else than strings", word) from None

    def flags(self, names: FlagNames) -> Flags:
        """The flags it was given, of those that it may be given."""
        flags = Flags(self.name, self.statement)
        flags.read(self._flags, names)
        return flags

    def require_no_flags(self) -> None:
        """Refuse flags."""
        self.flags(FlagNames())

    def one_word(self, what: str) -> str:
        """The whole rest of the line, which must not be empty."""
        self.require_no_flags()
        if not self.rest.text:
            raise self.error(f"{self.name} lacks an argument: {self.name} {what}")
        return self.rest.text

    def template(self, word: Word) -> Template:
        """Read a word; refuses one whose quotes or substitutions no value can make right."""
        try:
            return template(word.text, self.escape)
        except ExpansionError as error:
            raise self.statement.error(word.offset + error.offset, error.reason) from None

    def common(self) -> Common:
        """What every instruction has."""
        text = self.statement.text
        before = len(text) - len(text.lstrip(SPACES))
        return {
            "position": self.statement.position(self.keyword.offset),
            "last_line": self.statement.last_line,
            "source": text.strip(SPACES),
            "keyword": self.keyword.text,
            "comments": self.statement.comments,
            "empty_lines": self.statement.empty_lines,
            "starts": tuple(
                (start - before, line, column) for start, line, column in self.statement.starts
            ),
        }
