r"""Patterns of `${name#pattern}` and its kin: `*`, `?` and `\`, no brackets.

Written without regular expressions over the whole pattern: `*a*a*a*b` on a long value would take
them years. A pattern is pieces of fixed length with `*` between them, so the first place where a
piece fits is as good as any later one.
"""

from __future__ import annotations

import re

from msgspec import Struct

from overlayfs_py.dockerfile.errors import ExpansionError

_ESCAPABLE = "*?\\"
_DELIMITERS = "}/"  # they are escaped for the substitution that the pattern stands in


class ShellPattern(Struct, frozen=True):
    """A pattern, ready to be held against values."""

    pieces: tuple[tuple[str | None, ...], ...]  # characters, None is any one but a newline

    @staticmethod
    def parse(text: str) -> ShellPattern:
        """Read a pattern.

        Raises:
            ExpansionError: it escapes what need not be.
        """
        pieces: list[list[str | None]] = [[]]
        characters = iter(text)
        for character in characters:
            if character == "*":
                pieces.append([])
            elif character == "?":
                pieces[-1].append(None)
            elif character == "\\":
                following = next(characters, "")
                if not following or following not in _ESCAPABLE + _DELIMITERS:
                    raise ExpansionError(f"bad pattern {text!r}: \\{following} escapes nothing")
                pieces[-1].append(following)
            else:
                pieces[-1].append(character)
        return ShellPattern(tuple(map(tuple, pieces)))

    def without_prefix(self, value: str, *, longest: bool) -> str:
        """`value` less what matches at its beginning."""
        end = _Matcher(self.pieces, value).end(0, longest=longest)
        return value if end is None else value[end:]

    def without_suffix(self, value: str, *, longest: bool) -> str:
        """`value` less what matches at its end."""
        backwards = ShellPattern(tuple(piece[::-1] for piece in self.pieces[::-1]))
        return backwards.without_prefix(value[::-1], longest=longest)[::-1]

    def replaced(self, value: str, replacement: str, *, everywhere: bool) -> str:
        """`value` with its first match, or all of them, replaced; the longest there is."""
        matcher, done, start = _Matcher(self.pieces, value), 0, 0
        parts: list[str] = []
        after_match = -1  # nothing is not a match where a match has just ended
        while start <= len(value):
            end = matcher.end(start, longest=True)
            if end is None:
                start = matcher.next_start(start)
                continue
            if end > start or start != after_match:
                parts += (value[done:start], replacement)
                done = after_match = end
                if not everywhere:
                    break
            start = end if end > start else start + 1
        return "".join(parts) + value[done:]


class _Matcher:
    """The pieces of a pattern held against one value."""

    def __init__(self, pieces: tuple[tuple[str | None, ...], ...], value: str) -> None:
        self._value = value
        self._first, *self._others = (_compiled(piece) for piece in pieces)
        self._sizes = [len(piece) for piece in pieces[1:]]
        self._on_one_line = not any("\n" in piece for piece in pieces)
        self._hopeless_until = 0

    def end(self, start: int, *, longest: bool) -> int | None:
        """Where a match that begins at `start` ends."""
        found = self._first.match(self._value, start)
        if found is None or start < self._hopeless_until:
            return None
        end = found.end()
        for index, (piece, size) in enumerate(zip(self._others, self._sizes, strict=True)):
            line_end = self._value.find("\n", end)
            line_end = len(self._value) if line_end < 0 else line_end
            last = longest and index == len(self._others) - 1
            place = self._place(piece, end, line_end, size, last=last)
            if place is None:
                if self._on_one_line:
                    # A later beginning leaves less of the line for what is missing.
                    self._hopeless_until = line_end
                return None
            end = place + size
        return end

    def next_start(self, start: int) -> int:
        """Where to look after nothing has matched at `start`."""
        return max(start + 1, self._hopeless_until)

    def _place(
        self, piece: re.Pattern[str], start: int, line_end: int, size: int, *, last: bool
    ) -> int | None:
        if size == 0:
            return line_end if last else start
        if not last:
            found = piece.search(self._value, start, line_end + size)
            return None if found is None else found.start()
        for place in range(line_end, start - 1, -1):
            if piece.match(self._value, place):
                return place
        return None


def _compiled(piece: tuple[str | None, ...]) -> re.Pattern[str]:
    return re.compile("".join("." if each is None else re.escape(each) for each in piece))
