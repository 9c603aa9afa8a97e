"""JSON as Go's encoding/json writes it, byte for byte.

Docker's and podman's outputs, and the documents of an image, are compared as text by their users;
so the order of fields is the caller's, and what Go escapes is escaped here.
Source: encoding/json, encode.go (appendString, mapEncoder), indent.go.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

# What Go escapes and Python's json does not, with ensure_ascii off; "\\b" and "\\f" are the other
# way round: Go before 1.22 had no short forms, and both read back alike.
_ESCAPED = late_pattern("[<>&\u2028\u2029\ud800-\udfff]|\\\\.")
_CONTROLS = {"\\b": "\\u0008", "\\f": "\\u000c"}
_HTML = frozenset("<>&")


def compact(value: Json, *, escape_html: bool = True) -> str:
    """The text of `value` on one line, without spaces."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _escaped(text, escape_html=escape_html)


def indented(value: Json, indent: int = 4, *, escape_html: bool = True) -> str:
    """The text of `value` over several lines."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _escaped(text, escape_html=escape_html)


def compact_bytes(value: Json) -> bytes:
    """The same as `compact`, as bytes: a document to store."""
    return compact(value).encode()


def sorted_map(values: Mapping[str, Json]) -> dict[str, Json]:
    """A Go map: its keys come out sorted by their bytes."""
    return {key: values[key] for key in sorted(values, key=_by_bytes)}


def _by_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _escaped(text: str, *, escape_html: bool) -> str:
    return _ESCAPED.sub(lambda match: _replacement(match.group(), escape_html), text)


def _replacement(found: str, escape_html: bool) -> str:
    if len(found) > 1:
        return _CONTROLS.get(found, found)
    if found in _HTML and not escape_html:
        return found
    if "\ud800" <= found <= "\udfff":
        return "\\ufffd"  # what Go writes for bytes that are no UTF-8
    return f"\\u{ord(found):04x}"
