r"""One pattern of a `.dockerignore`, as a regular expression that takes its time in no case.

Docker makes a regular expression of a pattern too, in Go's dialect, character by character, so
some patterns mean more there than in a glob: `\d` is a digit, `[[:alpha:]]` a letter, `^` the
beginning. This does the same steps, with what Python's dialect writes differently.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_SLASH = "[^/]"
_ANY_DIRECTORIES = "(?:.*/)?"
_BEGINNING = r"\A"
_SHORTHANDS = {
    "d": "0-9",
    "w": "0-9A-Za-z_",
    "s": r"\t\n\f\r ",
}
_CONTROLS = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_MOST_FREE = 2  # parts without bound that one pattern may hold before it is matched the slow way


class BadPattern(ValueError):
    """A pattern that cannot be read; the argument says why."""


class _Piece(Struct, frozen=True):
    """A part of a pattern: an expression that matches one character, or a free part."""

    expression: str
    free: str = ""  # `*`, or `**` for what crosses slashes


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a path, without `/` before it, matches.

    Raises:
        BadPattern: Docker refuses it as well.
    """
    check_syntax(pattern)
    plain = _without_expression(pattern)
    if plain is not None:
        return plain
    pieces = _pieces(pattern)
    if _is_quick(pieces):
        expression = re.compile(_expression(pieces))
        return lambda path: expression.fullmatch(path) is not None
    return _Steps(pieces).matches


def check_syntax(pattern: str) -> None:
    """Refuse what Go calls a bad pattern: a class that is none, an escape of nothing."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            if at + 1 == len(pattern):
                raise BadPattern("a \\ at the end escapes nothing")
            at += 2
        elif pattern[at] == "[":
            at = _end_of_class(pattern, at)
        else:
            at += 1


def _end_of_class(pattern: str, start: int) -> int:
    at = start + 1
    if pattern.startswith("^", at):
        at += 1
    members = 0
    while True:
        if pattern.startswith("]", at) and members:
            return at + 1
        at = _end_of_member(pattern, at)
        if pattern.startswith("-", at):
            at = _end_of_member(pattern, at + 1)
        members += 1


def _end_of_member(pattern: str, at: int) -> int:
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadPattern("a [ that is not closed, or has nothing in it")
    if pattern[at] == "\\":
        at += 1
    if at + 1 >= len(pattern):
        raise BadPattern("a [ that is not closed")
    return at + 1


def _without_expression(pattern: str) -> Callable[[str], bool] | None:
    """The test for a pattern that needs no expression: a name, `name/**`, `**/name`."""
    if not any(character in pattern for character in "*?[]\\"):
        return lambda path: path == pattern
    middle = pattern.removeprefix("**").removesuffix("**")
    if any(character in middle for character in "*?[]\\"):
        return None
    if pattern in ("**", "**/"):
        return lambda _: True
    if pattern.startswith("**") and not pattern.endswith("**"):
        suffix = pattern[2:]
        name = suffix[1:] if suffix[0] == "/" else None
        return lambda path: path.endswith(suffix) or path == name
    if pattern.endswith("**") and not pattern.startswith("**"):
        prefix = pattern[:-2]
        return lambda path: path.startswith(prefix)
    return None


def _pieces(pattern: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("/", at + 2) else 2
            pieces.append(_Piece(".*" if at >= len(pattern) else _ANY_DIRECTORIES, free="**"))
            continue
        if character == "[":
            expression, at = _class(pattern, at)
            pieces.append(_Piece(expression))
            continue
        if character == "\\":
            pieces.append(_Piece(_escaped(pattern[at + 1])))
            at += 2
            continue
        if character == "*":
            pieces.append(_Piece(f"{_NOT_SLASH}*", free="*"))
        elif character == "?":
            pieces.append(_Piece(_NOT_SLASH))
        elif character == "^":
            pieces.append(_Piece(_BEGINNING))
        else:
            pieces.append(_Piece(re.escape(character)))
        at += 1
    return pieces


def _escaped(character: str) -> str:
    if character.lower() in _SHORTHANDS:
        negation = "^" if character.isupper() else ""
        return f"[{negation}{_SHORTHANDS[character.lower()]}]"
    if character in _CONTROLS:
        return re.escape(_CONTROLS[character])
    if character.isascii() and character.isalnum():
        raise BadPattern(f"\\{character} escapes nothing")
    return re.escape(character)


def _class(pattern: str, start: int) -> tuple[str, int]:
    """The expression of the class that begins at `start`, and where it ends.

    `*` and `?` in a class have been replaced before the class is read, so it may end early.
    """
    text, source = _class_text(pattern, start)
    negated = text.startswith("^", 1)
    at = 2 if negated else 1
    members: list[str] = []
    while not (text[at] == "]" and members):
        member, at = _member(text, at)
        members.append(member)
    expression = f"[{'^' if negated else ''}{''.join(members)}]"
    left_over = text[at + 1 :]
    if left_over:
        raise BadPattern("* and ? have no place in []")
    return expression, source


def _class_text(pattern: str, start: int) -> tuple[str, int]:
    """The class up to the `]` that ends it for an expression."""
    at, members = start + 1, 0
    if pattern.startswith("^", at):
        at += 1
    while at < len(pattern):
        if pattern[at] == "]" and members:
            return pattern[start : at + 1], at + 1
        if pattern[at] in "*?":
            raise BadPattern("* and ? have no place in []")
        named = re.compile(r"\[:\^?[a-z]+:\]").match(pattern, at)
        if named is not None:
            at = named.end()
        else:
            at += 2 if pattern[at] == "\\" else 1
        members += 1
    raise BadPattern("a [ that is not closed")


def _member(text: str, at: int) -> tuple[str, int]:
    named = re.compile(r"\[:(\^?)([a-z]+):\]").match(text, at)
    if named is not None:
        if named[2] not in _CLASSES or named[1]:
            raise BadPattern(f"no class {named[0]}")
        return _CLASSES[named[2]], named.end()
    low, at, is_set = _single(text, at)
    if is_set or text[at] != "-" or text[at + 1] == "]":
        return low, at
    high, at, is_set = _single(text, at + 1)
    if is_set or _code(high) < _code(low):
        raise BadPattern(f"no range {low}-{high}")
    return f"{low}-{high}", at


def _single(text: str, at: int) -> tuple[str, int, bool]:
    """One member of a class as an expression has it, where it ends, and if it is a set."""
    if text[at] != "\\":
        return re.escape(text[at]), at + 1, False
    following = text[at + 1]
    if following in _SHORTHANDS:
        return _SHORTHANDS[following], at + 2, True
    if following.isascii() and following.isalnum() and following not in _CONTROLS:
        raise BadPattern(f"\\{following} escapes nothing")
    return re.escape(_CONTROLS.get(following, following)), at + 2, False


def _code(expression: str) -> int:
    return ord(expression[-1])


def _is_quick(pieces: list[_Piece]) -> bool:
    """Whether an expression needs no more time than a path's length squared."""
    return sum(bool(piece.free) for piece in pieces) <= _MOST_FREE


def _expression(pieces: list[_Piece]) -> str:
    return "".join(piece.expression for piece in pieces)


class _Steps:
    """A pattern of many free parts: all places that a path may be at, after each piece.

    An expression would try each way to share the path out among the free parts. The places are
    bits of a number, so that a step costs little however many there are.
    """

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._expressions = {
            piece.expression: re.compile(piece.expression)
            for piece in pieces
            if not piece.free and piece.expression != _BEGINNING
        }

    def matches(self, path: str) -> bool:
        """Whether the whole path matches."""
        characters = set(path)
        fits = {
            expression: _bits(path, {each for each in characters if compiled.fullmatch(each)})
            for expression, compiled in self._expressions.items()
        }
        slashes = _bits(path, {"/"})
        inside = {"*": _bits(path, characters - {"/"}), "**": _bits(path, characters - {"\n"})}
        places = 1
        for piece in self._pieces:
            if piece.expression == _BEGINNING:
                places &= 1
            elif not piece.free:
                places = (places & fits[piece.expression]) << 1
            elif piece.expression == _ANY_DIRECTORIES:
                places |= (_spread(places, inside["**"]) & slashes) << 1
            else:
                places = _spread(places, inside[piece.free])
        return bool(places >> len(path) & 1)


def _bits(path: str, wanted: set[str]) -> int:
    """A bit for each character of `path`, set where it is one of `wanted`."""
    digits = {ord(each): "1" if each in wanted else "0" for each in set(path)}
    return int(path[::-1].translate(digits) or "0", 2)


def _spread(places: int, passable: int) -> int:
    """The places, and those that can be reached from them over passable characters."""
    step, ways = 1, passable << 1
    while ways:
        places |= places << step & ways
        ways &= ways << step
        step *= 2
    return places
