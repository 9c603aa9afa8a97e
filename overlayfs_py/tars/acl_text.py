"""ACLs as tars have them, text, made into the xattr that the kernel has.

Source: star(5) and libarchive's tar(5), SCHILY.acl.*; acl(5), "ACL TEXT FORMS"; Linux
include/uapi/linux/posix_acl_xattr.h. star and bsdtar add each user's number to the name, GNU tar
writes the name alone: whom it means only the system knows that the tar was made on.
"""

from __future__ import annotations

import re
import struct

_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF  # of an entry that names nobody
_LARGEST_ID = 0xFFFFFFFE

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_TAGS = {
    (b"user", False): _USER_OBJ,
    (b"user", True): _USER,
    (b"group", False): _GROUP_OBJ,
    (b"group", True): _GROUP,
    (b"mask", False): _MASK,
    (b"other", False): _OTHER,
}
_MOST_BITS = 7
_MINIMAL = (_USER_OBJ, _GROUP_OBJ, _OTHER)
_LINE = re.compile(
    rb"(user|group|mask|other):([^:]*):([r-][w-][x-])(?::([0-9]{1,10}))?[ \t]*(?:#.*)?"
)
_SEPARATORS = re.compile(rb"[,\n]")
_KNOWN_TO_ALL = {b"root": 0}

Entry = tuple[int, int, int]  # tag, permissions, id


def acl_xattr(text: bytes, *, is_default: bool) -> bytes | None:
    """Return the value of an ACL's xattr.

    None where there is none to set: the mode says all of an access ACL, or what the text says
    cannot be told, as of a user by a name that only the tar's maker can resolve.
    """
    entries = []
    for line in _SEPARATORS.split(text):
        if line.strip():
            entry = _entry(line.strip())
            if entry is None:
                return None
            entries.append(entry)
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    if not _is_valid(entries) or (not is_default and len(entries) == len(_MINIMAL)):
        return None
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def is_valid_acl(value: bytes) -> bool:
    """Whether the kernel takes an xattr for an ACL; one of no entries says that there is none."""
    body = value[_HEADER.size :]
    if value[: _HEADER.size] != _HEADER.pack(_VERSION) or len(body) % _ENTRY.size:
        return False
    entries = list(_ENTRY.iter_unpack(body))
    known = all(tag in _TAGS.values() and bits <= _MOST_BITS for tag, bits, _ in entries)
    named = all(who <= _LARGEST_ID for tag, _, who in entries if tag in (_USER, _GROUP))
    in_order = entries == sorted(entries, key=lambda entry: entry[0])
    return not entries or (known and named and in_order and _is_valid(entries))


def _entry(line: bytes) -> Entry | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    kind, name, permissions, number = found.groups()
    tag = _TAGS.get((kind, bool(name)))
    identity = _identity(name, number) if name else _NO_ID
    if tag is None or identity is None:
        return None
    bits = sum(bit for bit, letter in zip((4, 2, 1), permissions, strict=True) if letter != 0x2D)
    return tag, bits, identity


def _identity(name: bytes, number: bytes | None) -> int | None:
    if number is None and name in _KNOWN_TO_ALL:
        return _KNOWN_TO_ALL[name]
    digits = name if number is None else number
    if not digits.isdigit() or int(digits) > _LARGEST_ID:
        return None
    return int(digits)


def _is_valid(entries: list[Entry]) -> bool:
    """What the kernel demands (fs/posix_acl.c, posix_acl_valid)."""
    tags = [tag for tag, _, _ in entries]
    named = any(tag in (_USER, _GROUP) for tag in tags)
    masks = tags.count(_MASK)
    whom = [(tag, identity) for tag, _, identity in entries]
    return (
        all(tags.count(tag) == 1 for tag in _MINIMAL)
        and (masks == 1 or (masks == 0 and not named))
        and len(set(whom)) == len(whom)
    )
