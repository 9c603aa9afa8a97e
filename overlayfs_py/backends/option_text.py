"""The text of `-o`: options between commas, lists between colons, and how both are escaped.

A backslash takes the meaning from the character after it, in options and in their lists alike,
as in kernel overlayfs (fs/overlayfs/params.c, ovl_next_opt and ovl_parse_param_split_lowerdirs).
A value between double quotes may hold commas: SELinux contexts do.
"""

from __future__ import annotations

import re

from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

# What no separator can be inside of, the separator itself, and runs of anything else.
_OPTION_ATOM = late_pattern(r'="[^"]*"(?=,|$)|\\.|,|[^,\\=]+|.', re.DOTALL)
_LIST_ATOM = late_pattern(r"\\.|:|[^:\\]+|.", re.DOTALL)
_ESCAPED = late_pattern(r"\\(.)", re.DOTALL)


class Option(NamedTuple):
    """One option; None as `value` where there is no equals sign."""

    name: str
    value: str | None  # with its escapes, without its quotes


def split_options(text: str) -> list[Option]:
    """Return the options in order; empty ones, which engines write, are left out."""
    return [_option(part) for part in _split(text, ",", _OPTION_ATOM) if part]


def split_list(value: str) -> list[str]:
    """Return the parts between colons, unescaped, empty ones included."""
    return [unescape(part) for part in _split(value, ":", _LIST_ATOM)]


def unescape(value: str) -> str:
    return _ESCAPED.sub(r"\1", value)


def _split(text: str, separator: str, atom: re.Pattern[str]) -> list[str]:
    parts = [""]
    for piece in atom.findall(text):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _option(part: str) -> Option:
    name, equals, value = part.partition("=")
    if not equals:
        return Option(name, None)
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return Option(name, value[1:-1] if is_quoted else value)
