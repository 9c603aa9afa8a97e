"""What can be wrong with a Dockerfile, and where."""

from __future__ import annotations

from msgspec import Struct

from overlayfs_py.errors import OverlayError
from overlayfs_py.terminal_text import for_terminal, shortened

_WIDEST_EXCERPT = 160
_BEFORE_THE_PLACE = 60


class Position(Struct, frozen=True, order=True):
    """A character of a file; lines and columns count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class DockerfileError(OverlayError):
    """Something that a Dockerfile, or a file that goes with it, must not say.

    `str()` is `FILE:LINE:COLUMN: reason`; `details` shows the line and marks the place in it.
    """

    exit_code = 1

    def __init__(self, position: Position, reason: str, line: str = "") -> None:
        """`line` is the line of the file that `position` is in, empty if there is none to show."""
        super().__init__(None, reason, str(position))
        self.position = position
        self.reason = reason
        self.details = _excerpt(line, position.column) if line.strip() else ()


class ExpansionError(OverlayError):
    """A word whose quotes or variables cannot be resolved; `offset` is where, in the word."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(None, reason)
        self.reason = reason
        self.offset = offset


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Return `, did you mean WORD?` with what is nearest, or nothing."""
    import difflib  # only errors need it

    near = difflib.get_close_matches(word[:_WIDEST_EXCERPT], known, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def _excerpt(line: str, column: int) -> tuple[str, str]:
    """The part of the line that the column is in, and a mark below it."""
    start = max(0, column - 1 - _BEFORE_THE_PLACE) if len(line) > _WIDEST_EXCERPT else 0
    before = for_terminal(line[start : column - 1].replace("\t", " "))
    shown = before + shortened(line[column - 1 :].replace("\t", " "), _WIDEST_EXCERPT)
    lead = "..." if start else ""
    return f"  {lead}{shown}", f"  {' ' * (len(lead) + len(before))}^"
