"""containerd's filters: `kind==active,labels."some/label"~=^v1`, any of several.

A filter is selectors between commas, all of which have to match: a field, alone (is it there?), or
with `==`, `!=` or `~=` and a value. Parts of a field stand between dots, in quotes if need be.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.backends.snapshot_failures import Class, Refused, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Filter = Callable[["Fields"], bool]

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile("==|!=|~=")
_VALUE = re.compile(r"[^,\s]+")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_PATTERN = re.compile(r"/((?:[^/\\\n]|\\.)*)/|\|((?:[^|\\\n]|\\.)*)\|")
_ESCAPE = re.compile(
    r"""\\(?:[abfnrtv\\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
)
_BACKSLASH = re.compile(r"\\(?s:.)")


class Fields(NamedTuple):
    """What a filter can ask of a snapshot."""

    name: str
    parent: str
    kind: str
    labels: dict[str, str]

    def find(self, path: Sequence[str]) -> str | None:
        """Return the value of a field, None where it is not there."""
        match path[0]:
            case "name":
                return self.name
            case "parent":
                return self.parent
            case "kind":
                return self.kind
            case "labels":
                return self.labels.get(".".join(path[1:]))
            case _:
                return None


def parse(filters: Sequence[str]) -> Filter:
    """Return what tells whether a snapshot matches any of the filters; without one, all do.

    Raises:
        Refused: one cannot be understood.
    """
    if not filters or "" in filters:
        return lambda _: True
    found = [_Parser(text).selectors() for text in filters]
    return lambda fields: any(all(each(fields) for each in selectors) for selectors in found)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selectors(self) -> list[Filter]:
        found = [self._selector()]
        while self._take(","):
            found.append(self._selector())
        if self._at < len(self._text):
            raise self._wrong("unexpected input")
        return found

    def _selector(self) -> Filter:
        path = [self._field()]
        while self._take("."):
            path.append(self._field())
        operator = self._match(_OPERATOR)
        if operator is None:
            return lambda fields: fields.find(path) is not None
        if operator[0] == "~=":
            return _matching(path, self._pattern())
        value = self._value()
        if operator[0] == "!=":
            return lambda fields: fields.find(path) != value
        return lambda fields: fields.find(path) == value

    def _field(self) -> str:
        found = self._quoted()
        if found is not None:
            return found
        plain = self._match(_FIELD)
        if plain is None:
            raise self._wrong("a field is missing")
        return plain[0]

    def _value(self) -> str:
        found = self._quoted()
        if found is not None:
            return found
        plain = self._match(_VALUE)
        if plain is None:
            raise self._wrong("a value is missing")
        return plain[0]

    def _pattern(self) -> str:
        between = self._match(_PATTERN)
        if between is None:
            return self._value()
        return between[1] if between[1] is not None else between[2]

    def _quoted(self) -> str | None:
        found = self._match(_QUOTED)
        if found is None:
            return None
        return self._unescape(found[1])

    def _unescape(self, text: str) -> str:
        if _BACKSLASH.search(_ESCAPE.sub("", text)):
            raise self._wrong("an escape that there is none of")
        return _ESCAPE.sub(lambda found: codecs.decode(found[0], "unicode_escape"), text)

    def _take(self, character: str) -> bool:
        self._skip()
        if not self._text.startswith(character, self._at):
            return False
        self._at += len(character)
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        self._skip()
        return found

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _wrong(self, why: str) -> Refused:
        return Refused(
            Class.INVALID_ARGUMENT, f"filters: {quoted(self._text)}: {why} at {self._at + 1}"
        )


def _matching(path: list[str], text: str) -> Filter:
    try:
        pattern = re.compile(text)
    except re.error:
        return lambda _: False  # as containerd has it, which only logs it
    return lambda fields: pattern.search(fields.find(path) or "") is not None
