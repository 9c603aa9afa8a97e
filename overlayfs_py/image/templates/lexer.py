"""The tokens of a template.

Source: text/template/parse, lex.go: what is a token, where spaces are trimmed, and each message.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.image.templates.bytes_text import REPLACEMENT, is_printable, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT = "{{"
RIGHT = "}}"
_SPACES = " \t\r\n"

_LEFT = re.compile(r"\{\{(?P<trim>-(?=[ \t\r\n]))?")
_RIGHT = re.compile(r"(?P<trim>[ \t\r\n]-)?\}\}")
_SPACE = re.compile(r"[ \t\r\n]+")
_TRIMMED_RIGHT = re.compile(r"[ \t\r\n]-\}\}")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_RAW = re.compile(r"`[^`]*`")
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
# Too generous, as Go's: the parser finds out what is no number.
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_WORD = re.compile(r"[^\W]+")
_TERMINATORS = frozenset(".,|:()" + _SPACES)


class Kind(Enum):
    """What a token is; the value of a punctuation mark or a keyword is how it is written."""

    TEXT = auto()
    LEFT_DELIMITER = auto()
    RIGHT_DELIMITER = auto()
    SPACE = auto()
    STRING = auto()
    RAW_STRING = auto()
    CHARACTER = auto()
    NUMBER = auto()
    COMPLEX = auto()
    BOOL = auto()
    IDENTIFIER = auto()
    FIELD = auto()
    VARIABLE = auto()
    OTHER = auto()
    ERROR = auto()
    END_OF_TEXT = auto()
    ASSIGN = "="
    DECLARE = ":="
    PIPE = "|"
    LEFT_PARENTHESIS = "("
    RIGHT_PARENTHESIS = ")"
    DOT = "."
    BLOCK = "block"
    BREAK = "break"
    CONTINUE = "continue"
    DEFINE = "define"
    ELSE = "else"
    END = "end"
    IF = "if"
    NIL = "nil"
    RANGE = "range"
    TEMPLATE = "template"
    WITH = "with"


_KEYWORDS = {
    kind.value: kind for kind in Kind if isinstance(kind.value, str) and kind.value.isalpha()
}
_LONGEST_SHOWN = 10


class Token(NamedTuple):
    """A piece of a template; `at` is where it begins, in characters."""

    kind: Kind
    text: str
    at: int
    line: int

    def __str__(self) -> str:
        """The token as messages show it."""
        if self.kind is Kind.END_OF_TEXT:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind in _KEYWORDS.values() or self.kind is Kind.DOT:
            return f"<{self.text}>"
        if len(self.text) > _LONGEST_SHOWN:
            return quote(self.text[:_LONGEST_SHOWN]) + "..."
        return quote(self.text)


class _Wrong(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens; the last is END_OF_TEXT, or ERROR with the reason."""
    return _Lexer(text).run()


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0  # of parentheses
        self._line = 1
        self._counted_to = 0

    def run(self) -> Iterator[Token]:
        try:
            while self._at < len(self._text):
                yield from self._text_before_action()
                if self._at < len(self._text):
                    yield from self._action()
        except _Wrong as wrong:
            yield self._token(Kind.ERROR, wrong.message, self._at)
            return
        yield self._token(Kind.END_OF_TEXT, "EOF", self._at)

    def _token(self, kind: Kind, text: str, at: int) -> Token:
        self._line += self._text.count("\n", self._counted_to, at)
        self._counted_to = max(self._counted_to, at)
        return Token(kind, text, at, self._line)

    def _take(self, kind: Kind, end: int) -> Token:
        start, self._at = self._at, end
        return self._token(kind, self._text[start:end], start)

    def _text_before_action(self) -> Iterator[Token]:
        found = _LEFT.search(self._text, self._at)
        end = len(self._text) if found is None else found.start()
        shown = self._text[self._at : end]
        if found is not None and found["trim"]:
            shown = shown.rstrip(_SPACES)
        if shown:
            yield self._token(Kind.TEXT, shown, self._at)
        self._at = end

    def _action(self) -> Iterator[Token]:
        left = _LEFT.match(self._text, self._at)
        assert left is not None
        after = left.end() + (1 if left["trim"] else 0)  # the space belongs to the marker
        if self._text.startswith("/*", after):
            self._skip_comment(after)
            return
        yield self._take(Kind.LEFT_DELIMITER, self._at + len(LEFT))
        self._at = after
        self._depth = 0
        while (right := _RIGHT.match(self._text, self._at)) is None:
            yield self._inside()
        if self._depth:
            raise _Wrong("unclosed left paren")
        self._at = right.end() - len(RIGHT)
        yield self._take(Kind.RIGHT_DELIMITER, right.end())
        self._trim_after(right)

    def _skip_comment(self, start: int) -> None:
        end = self._text.find("*/", start + 2)
        if end < 0:
            self._at = start
            raise _Wrong("unclosed comment")
        right = _RIGHT.match(self._text, end + 2)
        if right is None:
            self._at = start
            raise _Wrong("comment ends before closing delimiter")
        self._at = right.end()
        self._trim_after(right)

    def _trim_after(self, right: re.Match[str]) -> None:
        if right["trim"] and (spaces := _SPACE.match(self._text, self._at)):
            self._at = spaces.end()

    def _inside(self) -> Token:
        if self._at >= len(self._text):
            raise _Wrong("unclosed action")
        character = self._text[self._at]
        if character in _SPACES:
            return self._space()
        if character == "." or character == "$":
            return self._dotted(character)
        if character in "+-0123456789":
            return self._number()
        if character == "_" or character.isalpha() or _is_digit(character):
            return self._word()
        return self._mark(character)

    def _space(self) -> Token:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        end = found.end()
        # The last space may belong to " -}}"; it is then not alone, or we would not be here.
        return self._take(Kind.SPACE, end - 1 if _TRIMMED_RIGHT.match(self._text, end - 1) else end)

    def _mark(self, character: str) -> Token:
        match character:
            case '"':
                return self._literal(Kind.STRING, _QUOTED, "unterminated quoted string")
            case "`":
                return self._literal(Kind.RAW_STRING, _RAW, "unterminated raw quoted string")
            case "'":
                return self._literal(Kind.CHARACTER, _CHARACTER, "unterminated character constant")
            case ":" if not self._text.startswith(":=", self._at):
                raise _Wrong("expected :=")
            case ":":
                return self._take(Kind.DECLARE, self._at + 2)
            case "(" | ")":
                return self._parenthesis(character)
            case "=" | "|":
                return self._take(Kind(character), self._at + 1)
            case _ if " " < character < "\x7f":
                return self._take(Kind.OTHER, self._at + 1)
            case _:
                raise _Wrong(f"unrecognized character in action: {_named(character)}")

    def _literal(self, kind: Kind, pattern: re.Pattern[str], otherwise: str) -> Token:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Wrong(otherwise)
        return self._take(kind, found.end())

    def _parenthesis(self, character: str) -> Token:
        self._depth += 1 if character == "(" else -1
        if self._depth < 0:
            raise _Wrong("unexpected right paren")
        return self._take(Kind(character), self._at + 1)

    def _dotted(self, first: str) -> Token:
        """`.`, `.Name`, `$`, `$name`, or a number that begins with a dot."""
        after = self._at + 1
        if first == "." and after < len(self._text) and self._text[after] in "0123456789":
            return self._number()
        end = self._end_of_word(after)
        self._require_end(end)
        if end == after:
            return self._take(Kind.DOT if first == "." else Kind.VARIABLE, end)
        return self._take(Kind.FIELD if first == "." else Kind.VARIABLE, end)

    def _word(self) -> Token:
        end = self._end_of_word(self._at)
        word = self._text[self._at : end]
        self._require_end(end)
        if word in {"true", "false"}:
            return self._take(Kind.BOOL, end)
        return self._take(_KEYWORDS.get(word, Kind.IDENTIFIER), end)

    def _end_of_word(self, at: int) -> int:
        while at < len(self._text) and _is_alphanumeric(self._text[at]):
            at += 1
        return at

    def _require_end(self, end: int) -> None:
        if end >= len(self._text) or self._text[end] in _TERMINATORS:
            return
        if not self._text.startswith(RIGHT, end):
            raise _Wrong(f"bad character {_named(self._text[end])}")

    def _number(self) -> Token:
        end = self._end_of_number(self._at)
        if end < len(self._text) and self._text[end] in "+-":
            end = self._end_of_number(end)
            if self._text[end - 1] != "i":
                raise _Wrong(f"bad number syntax: {quote(self._text[self._at : end])}")
            return self._take(Kind.COMPLEX, end)
        return self._take(Kind.NUMBER, end)

    def _end_of_number(self, at: int) -> int:
        found = _NUMBER.match(self._text, at)
        assert found is not None  # it matches the empty text, too
        end = found.end()
        if end < len(self._text) and _is_alphanumeric(self._text[end]):
            raise _Wrong(f"bad number syntax: {quote(self._text[self._at : end + 1])}")
        return end


def _is_alphanumeric(character: str) -> bool:
    return character == "_" or character.isalpha() or _is_digit(character)


def _is_digit(character: str) -> bool:
    return character.isdecimal()


def _named(character: str) -> str:
    """Go's %#U."""
    shown = REPLACEMENT if "\ud800" <= character <= "\udfff" else character
    name = f"U+{ord(shown):04X}"
    return f"{name} '{shown}'" if is_printable(shown) else name
