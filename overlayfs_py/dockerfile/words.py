"""The words of an instruction, as text with offsets: flags, lists, `name=value`, JSON."""

from __future__ import annotations

import json
from typing import NoReturn

from overlayfs_py.dockerfile.spaces import BETWEEN_WORDS, SPACES
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

_QUOTES = ("'", '"')
_NON_SPACE = late_pattern(f"[^{SPACES}]")


class Word(NamedTuple):
    """Characters of a statement, and where they begin in it."""

    text: str
    offset: int

    @property
    def end(self) -> int:
        """The offset behind it; for words of which nothing has been taken away."""
        return self.offset + len(self.text)


class NotStrings(ValueError):
    """A JSON array that has something else than strings in it."""


def stripped(word: Word) -> Word:
    """`word` without white space around it."""
    text = word.text.lstrip(SPACES)
    return Word(text.rstrip(SPACES), word.offset + len(word.text) - len(text))


def split_first(word: Word) -> tuple[Word, Word]:
    """The first word of an instruction, and what comes behind the white space after it."""
    found = BETWEEN_WORDS.search(word.text)
    if found is None:
        return word, Word("", word.end)
    rest = Word(word.text[found.end() :], word.offset + found.end())
    return Word(word.text[: found.start()], word.offset), rest


def split_list(word: Word) -> list[Word]:
    """The words between white space; quotes mean nothing."""
    words, start = [], 0
    for gap in BETWEEN_WORDS.finditer(word.text):
        words.append(Word(word.text[start : gap.start()], word.offset + start))
        start = gap.end()
    words.append(Word(word.text[start:], word.offset + start))
    return words if word.text else []


def split_flags(word: Word, escape: str) -> tuple[list[Word], Word]:
    """Split the flags off the beginning of an instruction's words; `--` ends them.

    The flags have lost their quotes and escapes.
    """
    flags: list[Word] = []
    at = 0
    while True:
        start = _first_non_space(word.text, at)
        if not word.text.startswith("--", start):
            return flags, stripped(Word(word.text[start:], word.offset + start))
        text, at, was_quoted = _flag(word.text, start, escape)
        if text == "--" and not was_quoted:
            return flags, stripped(Word(word.text[at:], word.offset + at))
        flags.append(Word(text, word.offset + start))


def _first_non_space(text: str, start: int) -> int:
    found = _NON_SPACE.search(text, start)
    return found.start() if found else len(text)


def _flag(text: str, start: int, escape: str) -> tuple[str, int, bool]:
    """One flag without quotes, where it ends, and whether it had any."""
    found: list[str] = []
    quote, was_quoted, at = "", False, start
    while at < len(text):
        character = text[at]
        if not quote and character in SPACES:
            break
        if character == quote or (not quote and character in _QUOTES):
            quote, was_quoted = ("" if quote else character), True
        elif character == escape:
            at += 1
            found.append(text[at : at + 1])
        else:
            found.append(character)
        at += 1
    return "".join(found), min(at, len(text)), was_quoted


def split_quoted(word: Word, escape: str) -> list[Word]:
    """The words between white space that is neither quoted nor escaped.

    They keep quotes and escapes. A quote that is not closed goes to the end.
    """
    words: list[Word] = []
    at = 0
    while (start := _first_non_space(word.text, at)) < len(word.text):
        text, at = _quoted_word(word.text, start, escape)
        if text:
            words.append(Word(text, word.offset + start))
    return words


def _quoted_word(text: str, start: int, escape: str) -> tuple[str, int]:
    found: list[str] = []
    quote, at = "", start
    while at < len(text):
        character = text[at]
        if not quote and character in SPACES:
            break
        if character == escape and quote != "'":
            # At the very end it escapes nothing, and is dropped.
            found.append(text[at : at + 2] if at + 1 < len(text) else "")
            at += 2
            continue
        if character == quote:
            quote = ""
        elif not quote and character in _QUOTES:
            quote = character
        found.append(character)
        at += 1
    return "".join(found), min(at, len(text))


def parse_json(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None for what is no JSON array, and so for the shell.

    Raises:
        NotStrings: an array of something else.
    """
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        # Numbers are no strings whatever they are worth: none is computed.
        values = json.loads(text, parse_int=str.split, parse_float=str.split, parse_constant=_fail)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise NotStrings
    return tuple(_without_surrogates(value) for value in values)


def _fail(_: str) -> NoReturn:
    raise ValueError


def _without_surrogates(text: str) -> str:
    # Half an escaped pair is no character, and Go puts U+FFFD in its place.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
