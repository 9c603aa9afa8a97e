"""Words with quotes and variables: `"$HOME/${app:-main}"` becomes text.

The rules are those of BuildKit's shell lexer, which differ from a shell's in small ways: a word is
read into parts once, `Template`, and the parts are given values as often as needed. That also
tells which variables a word has used, so that no other belongs into a cache key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from overlayfs_py.dockerfile.errors import ExpansionError
from overlayfs_py.dockerfile.shell_patterns import ShellPattern
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_RESULT = 1 << 24  # characters: each variable may hold many times the one before
_LONGEST_BODY = 1 << 20
_DEEPEST = 100
_SPECIAL_PARAMETERS = "@*#?-$!"
_QUOTED_PLAIN = late_pattern(r"[^\\`$\"]+")
_PLAIN = {stop: late_pattern(rf"[^\\`$'\"<{stop}]+") for stop in ("", "}", "/")}
_GAP_AFTER_HEREDOC = late_pattern(r"[\t\r ]*")
_SPLITTING = late_pattern(f"[{SPACES}]+")


class Expanded(Struct, frozen=True):
    """What a word has become, and the names of the variables that it took its text from."""

    text: str
    used: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()  # those asked for that have no value


class ExpandedWords(Struct, frozen=True):
    """What a text has become that is split at unquoted white space."""

    words: tuple[str, ...]
    used: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


class Text(Struct, frozen=True):
    """Characters that stand for themselves."""

    text: str
    quoting: str  # what keeps spaces in it from splitting: a quote, the escape, or nothing
    source: str


class Variable(Struct, frozen=True):
    """`$name`, or `${name}` with an operator."""

    name: str
    operator: str  # empty, or as `:-`, `#`, `//`; that of `##` is `#`, its operand begins with one
    operand: Template | None
    replacement: Template | None
    quoting: str
    source: str


class Template(Struct, frozen=True):
    """A word, read."""

    parts: tuple[Text | Variable, ...]

    def expand(self, values: Mapping[str, str]) -> Expanded:
        """Put `values` in.

        Raises:
            ExpansionError: `${name:?why}` of a variable without value, a bad pattern.
        """
        usage = _Usage(set(), set())
        return Expanded(
            self.resolved(values, usage), frozenset(usage.used), frozenset(usage.missing)
        )

    def expand_words(self, values: Mapping[str, str]) -> ExpandedWords:
        """The same for a text of several words; raises as `expand`."""
        usage = _Usage(set(), set())
        words = [""]
        for part in self.parts:
            text = _part_text(part, values, usage)
            if part.quoting:
                words[-1] += text
            else:
                first, *others = _SPLITTING.split(text)
                words[-1] += first
                words += others
        return ExpandedWords(
            tuple(filter(None, words)), frozenset(usage.used), frozenset(usage.missing)
        )

    def resolved(self, values: Mapping[str, str], usage: _Usage) -> str:
        """The text; adds to `usage`."""
        text = "".join(_part_text(part, values, usage) for part in self.parts)
        if len(text) > LONGEST_RESULT:
            raise ExpansionError(f"more than {LONGEST_RESULT} characters with its variables in it")
        return text


class _Usage(Struct):
    used: set[str]
    missing: set[str]


def expand(word: str, values: Mapping[str, str], escape: str = "\\") -> Expanded:
    """Take the quotes from one word, and put the values of variables in.

    `escape` is the Dockerfile's escape character. A variable without value is empty.

    Raises:
        ExpansionError: the word cannot be read, or `${name:?why}` says so.
    """
    return template(word, escape).expand(values)


def expand_words(text: str, values: Mapping[str, str], escape: str = "\\") -> ExpandedWords:
    """The same for a text that is then split at unquoted white space; empty words are none."""
    return template(text, escape).expand_words(values)


def expand_body(text: str, values: Mapping[str, str]) -> Expanded:
    r"""The same for the body of a heredoc: quotes are text there, and the escape is always `\`."""
    if "$" not in text and "\\" not in text:
        return Expanded(text)
    if len(text) > _LONGEST_BODY:
        raise ExpansionError(
            f"a heredoc of {len(text)} characters, and variables are to be put in: quote its name"
        )
    return template(text, "\\", quotes=False).expand(values)


def template(text: str, escape: str = "\\", *, quotes: bool = True) -> Template:
    """Read a text with quotes and variables.

    Raises:
        ExpansionError: a quote or brace is not closed, an operator is not one.
    """
    return _Reader(text, escape, quotes=quotes).until("", _PLAIN_ESCAPES)


def _part_text(part: Text | Variable, values: Mapping[str, str], usage: _Usage) -> str:
    return part.text if isinstance(part, Text) else _variable_text(part, values, usage)


def _variable_text(variable: Variable, values: Mapping[str, str], usage: _Usage) -> str:
    name, operator = variable.name, variable.operator
    value = values.get(name)
    (usage.missing if value is None else usage.used).add(name)
    if variable.operand is None:
        return value or ""
    # An operand is read even where it is not taken, and may fail there. What it uses then has no
    # part in the text.
    of_operand = _Usage(set(), set())
    operand = variable.operand.resolved(values, of_operand)
    if _takes_operand(operator, value):
        usage.used |= of_operand.used
        usage.missing |= of_operand.missing
    match operator:
        case "-" | ":-":
            return operand if _is_absent(operator, value) else value or ""
        case "+" | ":+":
            return "" if _is_absent(operator, value) else operand
        case "?" | ":?":
            return _required(name, operator, value, operand)
        case "#" | "%":
            return _trimmed(value or "", operator, operand)
        case _:
            assert variable.replacement is not None
            replacement = variable.replacement.resolved(values, usage)
            return ShellPattern.parse(operand).replaced(
                value or "", replacement, everywhere=operator == "//"
            )


def _required(name: str, operator: str, value: str | None, message: str) -> str:
    if _is_absent(operator, value):
        state = "unset" if value is None else "empty"
        raise ExpansionError(f"{name}: {message or f'is not allowed to be {state}'}")
    return value or ""


def _trimmed(value: str, operator: str, operand: str) -> str:
    longest = operand.startswith(operator)  # `##`, `%%`
    pattern = ShellPattern.parse(operand.removeprefix(operator) if longest else operand)
    if operator == "#":
        return pattern.without_prefix(value, longest=longest)
    return pattern.without_suffix(value, longest=longest)


def _is_absent(operator: str, value: str | None) -> bool:
    return value is None or (operator.startswith(":") and not value)


def _takes_operand(operator: str, value: str | None) -> bool:
    match operator.removeprefix(":"):
        case "-" | "?":
            return _is_absent(operator, value)
        case "+":
            return not _is_absent(operator, value)
        case _:
            return True


class _Escapes(Struct, frozen=True):
    """What becomes of escape characters: patterns are read twice, and need some of them."""

    kept: bool = False
    doubled_in_quotes: bool = False


_PLAIN_ESCAPES: Final = _Escapes()
_PATTERN_ESCAPES: Final = _Escapes(kept=True, doubled_in_quotes=True)
_REPLACEMENT_ESCAPES: Final = _Escapes(kept=True)


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, escape: str, *, quotes: bool) -> None:
        self._text = text
        self._escape = escape
        self._quotes = quotes
        self._at = 0
        self._depth = 0

    def until(self, stop: str, escapes: _Escapes) -> Template:
        """Read up to the character `stop`, and past it; to the end if it is empty."""
        start = self._at
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpansionError(f"more than {_DEEPEST} substitutions in each other", start)
        parts: list[Text | Variable] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == stop:
                self._at += 1
                self._depth -= 1
                return Template(tuple(parts))
            parts.extend(self._parts(character, stop, escapes))
        if stop:
            raise ExpansionError(f"'{stop}' is missing after this", max(0, start - 1))
        self._depth -= 1
        return Template(tuple(parts))

    def _parts(self, character: str, stop: str, escapes: _Escapes) -> Iterator[Text | Variable]:
        start = self._at
        if character == "$":
            yield self._dollar("")
        elif character == "'" and self._quotes:
            yield self._single_quoted(escapes)
        elif character == '"' and self._quotes:
            yield from self._double_quoted(escapes)
        elif character == "<":
            yield self._less_than()
        elif character == self._escape:
            following = self._text[start + 1 : start + 2]
            self._at += 2
            # Nothing follows: the escape is dropped, unless the text is read again.
            kept = character if escapes.kept else ""
            yield Text(kept + following, character, self._text[start : start + 2])
        else:
            plain = _PLAIN[stop].match(self._text, start)
            self._at = plain.end() if plain else start + 1
            text = self._text[start : self._at]
            yield Text(text, "", text)

    def _less_than(self) -> Text:
        # `<< EOF` is one word: the space after a heredoc's mark splits nothing.
        start = self._at
        self._at += 1
        if self._text.startswith("<", self._at):
            gap = _GAP_AFTER_HEREDOC.match(self._text, self._at + 1)
            self._at = gap.end() if gap else self._at + 1
        text = self._text[start : self._at]
        return Text(text, "<", text)

    def _single_quoted(self, escapes: _Escapes) -> Text:
        start = self._at
        end = self._text.find("'", start + 1)
        if end < 0:
            raise ExpansionError("this ' is not closed", start)
        self._at = end + 1
        text = self._text[start + 1 : end]
        if escapes.doubled_in_quotes:
            text = text.replace(self._escape, self._escape * 2)
        return Text(text, "'", self._text[start : self._at])

    def _double_quoted(self, escapes: _Escapes) -> Iterator[Text | Variable]:
        opening = start = self._at
        self._at += 1
        text = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                yield Text(text, '"', self._text[start : self._at])
                return
            if character == "$":
                yield Text(text, '"', self._text[start : self._at])
                yield self._dollar('"')
                start, text = self._at, ""
            elif character == self._escape:
                text += self._escaped_in_quotes(escapes)
            else:
                plain = _QUOTED_PLAIN.match(self._text, self._at)
                end = plain.end() if plain else self._at + 1
                text += self._text[self._at : end]
                self._at = end
        raise ExpansionError('this " is not closed', opening)

    def _escaped_in_quotes(self, escapes: _Escapes) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        if following and following in ('"', "$", self._escape):
            self._at += 2
            return (self._escape if escapes.kept else "") + following
        self._at += 1
        if not following:
            return ""
        return self._escape * 2 if escapes.kept else self._escape

    def _dollar(self, quoting: str) -> Text | Variable:
        start = self._at
        self._at += 1
        if not self._text.startswith("{", self._at):
            name = self._name()
            source = self._text[start : self._at]
            if not name:
                return Text("$", quoting, source)
            return Variable(name, "", None, None, quoting, source)
        self._at += 1
        if self._text[self._at : self._at + 1] in ("", "{", "}", ":"):
            raise ExpansionError("${ needs the name of a variable", start)
        name = self._name()
        operator, operand, replacement = self._operation(start)
        source = self._text[start : self._at]
        return Variable(name, operator, operand, replacement, quoting, source)

    def _name(self) -> str:
        start = self._at
        first = self._text[start : start + 1]
        if first.isdecimal():
            while self._text[self._at : self._at + 1].isdecimal():
                self._at += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self._at += 1
        else:
            while _is_of_name(self._text[self._at : self._at + 1]):
                self._at += 1
        return self._text[start : self._at]

    def _operation(self, start: int) -> tuple[str, Template | None, Template | None]:
        operator = self._text[self._at : self._at + 1]
        self._at += 1
        if operator == "}":
            return "", None, None
        if not operator:
            raise ExpansionError("this ${ is not closed", start)
        if operator == ":":
            operator += self._text[self._at : self._at + 1]
            self._at += 1
        if operator == "/":
            return self._replacing(start)
        if operator not in ("-", "+", "?", "#", "%", ":-", ":+", ":?"):
            raise ExpansionError(
                f"no operator {quoted(operator)} in ${{}}: there are - + ? # ## % %% / //", start
            )
        if operator in "#%":
            return operator, self._operand("}", _PATTERN_ESCAPES, start), None
        return operator, self._operand("}", _PLAIN_ESCAPES, start), None

    def _replacing(self, start: int) -> tuple[str, Template, Template]:
        operator = "/"
        if self._text.startswith("/", self._at):
            operator += "/"
            self._at += 1
        pattern = self._operand("/", _PATTERN_ESCAPES, start)
        return operator, pattern, self._operand("}", _REPLACEMENT_ESCAPES, start)

    def _operand(self, stop: str, escapes: _Escapes, start: int) -> Template:
        try:
            return self.until(stop, escapes)
        except ExpansionError as error:
            if error.reason.startswith(f"'{stop}' is missing"):
                closing = "closed" if stop == "}" else "complete: / and a replacement are missing"
                raise ExpansionError(f"this ${{ is not {closing}", start) from None
            raise


def _is_of_name(character: str) -> bool:
    return character == "_" or (character != "" and (character.isalpha() or character.isdecimal()))
