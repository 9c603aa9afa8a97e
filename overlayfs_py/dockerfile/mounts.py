"""The mounts of a RUN: `--mount=type=cache,target=/root/.cache`."""

from __future__ import annotations

import csv
import posixpath
import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from overlayfs_py.dockerfile.errors import ExpansionError, did_you_mean
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

Sharing = Literal["shared", "private", "locked"]

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING: tuple[Sharing, ...] = ("shared", "private", "locked")
_SSH = "type=ssh: nothing forwards an agent into a build; a key may come in as type=secret"
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"} | {
    "rw": "readwrite"
}
_ALL = {"type", "target", "readonly", "readwrite"}
_OWNER = {"mode", "uid", "gid"}
_KEYS = {
    "bind": _ALL | {"from", "source"},
    "cache": _ALL | _OWNER | {"from", "source", "id", "sharing"},
    "tmpfs": _ALL | {"size"},
    "secret": _ALL | _OWNER | {"source", "id", "required", "env"},
}
_WORDS = ("readonly", "readwrite", "required")  # keys that need no value
_EVERY_KEY = tuple(sorted(set().union(*_KEYS.values()) | _ALIASES.keys()))
_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)
_SIZE = late_pattern(r"([0-9]{1,15}(?:\.[0-9]{0,9})?) ?(?:([kmgtp])?(?:i?b)?)", re.IGNORECASE)
_LARGEST_ID = 2**32 - 1
_NEEDED_FIELD = "type="


class BadMount(ExpansionError):
    """A mount that is none, or that is not offered."""


class BindMount(Struct, frozen=True):
    """Files of the build context, a stage, a context or an image; what is written is dropped."""

    target: str  # relative to the working directory
    origin: str = ""  # empty for the build context
    source: str = ""
    read_only: bool = True


class CacheMount(Struct, frozen=True):
    """A directory that outlives the build."""

    target: str
    id: str  # the target if none was given
    origin: str = ""  # what it holds at first
    source: str = ""
    sharing: Sharing = "shared"
    read_only: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class TmpfsMount(Struct, frozen=True):
    """A directory in memory."""

    target: str
    size: int = 0  # bytes, 0 for no limit
    read_only: bool = False


class SecretMount(Struct, frozen=True):
    """A secret as a file, as a variable, or both."""

    id: str
    target: str | None  # None if it is only a variable
    env: str | None = None
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


Mount = BindMount | CacheMount | TmpfsMount | SecretMount


def origin_of(text: str) -> str | None:
    """What `from=` names in the value of a `--mount`.

    Raises:
        BadMount: it has variables, or the value cannot be read.
    """
    found = None
    for name, value in _fields(text):
        if name == "from" and value is not None:
            if "$" in value[:-1]:
                raise BadMount(
                    "from= takes no variables: name a stage with FROM ... AS and its own ARG"
                )
            found = value
    return found


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """Read the value of a `--mount`; `expand` puts variables in.

    Raises:
        BadMount: it is none, or of a type that is not offered.
    """
    fields = {
        _ALIASES.get(name, name): None if value is None else expand(value)
        for name, value in _fields(text)
    }
    kind = (fields.get("type") or "bind").lower()
    if kind not in _TYPES:
        raise BadMount(f"no mount type {quoted(kind)}{did_you_mean(kind, _TYPES)}")
    if kind == "ssh":
        raise BadMount(_SSH)
    for name, value in fields.items():
        _require_key(kind, name, value)
    values = {name: value or "" for name, value in fields.items()}
    match kind:
        case "cache":
            return _cache(values, fields)
        case "tmpfs":
            return TmpfsMount(_target(values), _size(values), _read_only(fields, default=False))
        case "secret":
            return _secret(values, fields)
        case _:
            return _bind(values, fields)


def _bind(values: dict[str, str], fields: dict[str, str | None]) -> BindMount:
    return BindMount(
        _target(values),
        values.get("from", ""),
        values.get("source", ""),
        _read_only(fields, default=True),
    )


def _fields(text: str) -> list[tuple[str, str | None]]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadMount(f"{quoted(text)}: {error}") from None
    found = []
    for field in rows[0] if rows else []:
        name, equals, value = field.partition("=")
        found.append((name.lower(), value if equals else None))
    return found


def _require_key(kind: str, name: str, value: str | None) -> None:
    if name not in _EVERY_KEY:
        raise BadMount(f"no mount option {quoted(name)}{did_you_mean(name, _EVERY_KEY)}")
    if name not in _KEYS[kind]:
        raise BadMount(f"{name}= is not for type={kind}: it has {', '.join(sorted(_KEYS[kind]))}")
    if value is None and name not in _WORDS:
        raise BadMount(f"{name} lacks a value: {name}=...")


def _cache(values: dict[str, str], fields: dict[str, str | None]) -> CacheMount:
    sharing = values.get("sharing", "shared").lower()
    known = next((each for each in _SHARING if each == sharing), None)
    if known is None:
        raise BadMount(f"sharing={sharing}: one of {', '.join(_SHARING)}")
    target = _target(values)
    return CacheMount(
        target,
        values.get("id") or posixpath.normpath(target),
        values.get("from", ""),
        values.get("source", ""),
        known,
        _read_only(fields, default=False),
        _octal(values),
        _number("uid", values),
        _number("gid", values),
    )


def _secret(values: dict[str, str], fields: dict[str, str | None]) -> SecretMount:
    source, target, name = (values.get(key, "") for key in ("source", "target", "id"))
    if source and name:
        raise BadMount("id= and source= both name the secret: give one")
    name = source or name
    if not name and not target:
        raise BadMount("type=secret needs id=, or target=")
    env = fields.get("env")
    name = name or posixpath.basename(target)
    if not target and env is None:
        target = f"/run/secrets/{posixpath.basename(name)}"
    mode = _octal(values)
    return SecretMount(
        name,
        target or None,
        env,
        _boolean("required", fields) if "required" in fields else False,
        0o400 if mode is None else mode,
        _number("uid", values) or 0,
        _number("gid", values) or 0,
    )


def _target(values: dict[str, str]) -> str:
    if not values.get("target"):
        raise BadMount("a mount needs target=")
    if posixpath.normpath(values["target"]) in ("/", "//"):
        raise BadMount("target=/: a mount cannot cover the root")
    return values["target"]


def _read_only(fields: dict[str, str | None], *, default: bool) -> bool:
    found = default
    for name in fields:
        if name == "readonly":
            found = _boolean(name, fields)
        elif name == "readwrite":
            found = not _boolean(name, fields)
    return found


def _boolean(name: str, fields: dict[str, str | None]) -> bool:
    value = fields[name]
    if value is not None and value not in _BOOLEANS:
        raise BadMount(f"{name}={quoted(value)}: expected true or false")
    return True if value is None else _BOOLEANS[value]


def _octal(values: dict[str, str]) -> int | None:
    text = values.get("mode")
    if text is None:
        return None
    if re.fullmatch("[0-7]{1,10}", text) is None:
        raise BadMount(f"mode={quoted(text)}: expected octal digits, as 0755")
    return int(text, 8)


def _number(name: str, values: dict[str, str]) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,10}", text) is None or int(text) > _LARGEST_ID:
        raise BadMount(f"{name}={quoted(text)}: expected a number up to {_LARGEST_ID}")
    return int(text)


def _size(values: dict[str, str]) -> int:
    text = values.get("size")
    if text is None:
        return 0
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise BadMount(f"size={quoted(text)}: expected bytes, as 100m")
    exponent = " kmgtp".index((found[2] or " ").lower())
    return int(float(found[1]) * 1024**exponent)
