"""PAX extended headers: records `LENGTH KEY=VALUE` in lines, and the xattrs among them.

Source: POSIX pax, "pax Extended Header"; star(5) and libarchive's tar(5) for SCHILY.* and
LIBARCHIVE.*. Values are bytes whatever `hdrcharset` says: layers have no charset.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from overlayfs_py.tars.acl_text import acl_xattr

if TYPE_CHECKING:
    from collections.abc import Iterable

_LENGTH = re.compile(rb"([0-9]{1,9}) ")
_SCHILY = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_ACLS = {
    b"SCHILY.acl.access": b"system.posix_acl_access",
    b"SCHILY.acl.default": b"system.posix_acl_default",
}
_LONGEST_XATTR_NAME = 255  # XATTR_NAME_MAX
_MOST_XATTR_BYTES = 65536  # XATTR_SIZE_MAX
# Of these NUL could only cut a name short for one reader and not for another.
_NAMES = (b"path", b"linkpath", b"GNU.sparse.name")

Records = list[tuple[bytes, bytes]]  # in order: GNU.sparse.offset may come again and again
Xattrs = tuple[tuple[bytes, bytes], ...]


def parse_records(data: bytes) -> Records:
    """Read all records of an extended header.

    Raises:
        ValueError: they do not fill it exactly, or are none.
    """
    records: Records = []
    at = 0
    while at < len(data):
        found = _LENGTH.match(data, at)
        end = at + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(data) or data[end - 1] != ord("\n"):
            raise ValueError("a damaged extended header")
        key, equals, value = data[found.end() : end - 1].partition(b"=")
        if not key or not equals or b"\0" in key or (key in _NAMES and b"\0" in value):
            raise ValueError("a damaged record in an extended header")
        records.append((key, value))
        at = end
    return records


def format_records(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write records, in the order they come."""
    return b"".join(_format_record(key, value) for key, value in records)


def _format_record(key: bytes, value: bytes) -> bytes:
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    # The length counts its own digits.
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def xattr_record(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return the record that carries an xattr; `=` in its name as GNU tar writes it."""
    return _SCHILY + name.replace(b"%", b"%25").replace(b"=", b"%3D"), value


def is_xattr(key: bytes) -> bool:
    """Whether a record carries an xattr."""
    return key.startswith((_SCHILY, _LIBARCHIVE))


def xattrs_of(records: dict[bytes, bytes]) -> Xattrs:
    """Return the xattrs among some records, sorted.

    bsdtar writes each twice, once readable by star and once by itself; the first counts. An ACL is
    an xattr; where it is there as one and as text, the xattr counts, which has the ids.

    Raises:
        ValueError: one that no Linux could hold.
    """
    found = _acls(records)
    for key, value in records.items():
        if key.startswith(_LIBARCHIVE):
            name = unquote_to_bytes(key[len(_LIBARCHIVE) :])
            if _SCHILY + name not in records:
                found[name] = _decode(value)
        elif key.startswith(_SCHILY):
            found[key[len(_SCHILY) :].replace(b"%3D", b"=").replace(b"%25", b"%")] = value
    for name, value in found.items():
        _require_xattr(name, value)
    return tuple(sorted(found.items()))


def _acls(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found = {}
    for key, name in _ACLS.items():
        text = records.get(key)
        value = acl_xattr(text, is_default=name.endswith(b"default")) if text else None
        if value is not None:
            found[name] = value
    return found


def _decode(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise ValueError("an xattr that is not in base 64") from None


def _require_xattr(name: bytes, value: bytes) -> None:
    if not 0 < len(name) <= _LONGEST_XATTR_NAME or b"\0" in name:
        raise ValueError(f"no name of an xattr: {name[:64]!r}")
    if len(value) > _MOST_XATTR_BYTES:
        raise ValueError(f"an xattr of {len(value)} bytes")
