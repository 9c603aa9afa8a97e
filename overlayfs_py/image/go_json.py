"""JSON as Go's encoding/json writes it, byte for byte.

Docker's and podman's outputs, and the documents of an image, are compared as text by their users;
so the order of fields is the caller's, and what Go escapes is escaped here.
Source: encoding/json, encode.go (appendString, mapEncoder), indent.go.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

# What Go escapes and Python's json does not, with ensure_ascii off; "\b" and "\f" are the other
# way round: Go before 1.22 had no short forms, and both read back alike.
_ESCAPED = re.compile("[<>&\u2028\u2029\x7f\ud800-\udfff]|\\\\[bf]|\\\\.")
_REPLACEMENTS = {"\\b": "\\u0008", "\\f": "\\u000c", "\x7f": "\x7f"}


def compact(value: Json) -> str:
    """The text of `value` on one line, without spaces."""
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def indented(value: Json, indent: int = 4) -> str:
    """The text of `value` over several lines."""
    return _escaped(json.dumps(value, ensure_ascii=False, indent=indent))


def compact_bytes(value: Json) -> bytes:
    """The same as `compact`, as bytes: a document to store."""
    return compact(value).encode()


def sorted_map(values: Mapping[str, Json]) -> dict[str, Json]:
    """A Go map: its keys come out sorted by their bytes."""
    return {key: values[key] for key in sorted(values, key=_by_bytes)}


def _by_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _replacement(match.group()), text)


def _replacement(found: str) -> str:
    if found in _REPLACEMENTS:
        return _REPLACEMENTS[found]
    if len(found) > 1:
        return found
    if "\ud800" <= found <= "\udfff":
        return "\\ufffd"  # what Go writes for bytes that are no UTF-8
    return f"\\u{ord(found):04x}"
