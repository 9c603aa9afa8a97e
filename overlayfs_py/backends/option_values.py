"""The values of options: layers, volumes, id ranges. What is wrong with one is a ValueError."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.backends.option_text import split_list
from overlayfs_py.errors import OverlayError
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union.values import IdRange, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

_ID_LIMIT = 1 << 32  # ids are 32 bits wide
_NO_ID = _ID_LIMIT - 1  # (uid_t) -1 means "none" to chown(2)
_SIZE = late_pattern(r"([0-9]{1,18})(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)
_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_VOLUME_MODES = {"ro": True, "rw": False}

Value = TypeVar("Value")


class OptionError(OverlayError):
    """A command line that cannot be right on any host; names the option."""

    exit_code = 2

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, option)


class Layers(NamedTuple):
    """What `lowerdir=` names, topmost first."""

    lower: tuple[bytes, ...]
    data_only: tuple[bytes, ...]


def parse_layers(value: str) -> Layers:
    """Return the layers of `A:B::D1::D2`: two colons come before one that is for data only.

    Empty parts at both ends are left out.
    """
    lower: list[bytes] = []
    data_only: list[bytes] = []
    after_nothing = False
    for part in split_list(value):
        if part and after_nothing and lower:
            data_only.append(os.fsencode(part))
        elif part and data_only:
            raise ValueError(f"{part}: below a layer for data only come no others")
        elif part:
            lower.append(os.fsencode(part))
        after_nothing = not part
    return Layers(tuple(lower), tuple(data_only))


def parse_volume(value: str) -> Volume:
    """Return the volume of `HOST:/path[:ro|rw]`."""
    source, target, mode = _volume_parts(value)
    if not source:
        raise ValueError(f"{value}: no host directory before the colon")
    if mode not in _VOLUME_MODES:
        raise ValueError(f"{value}: after the path comes ro or rw, not {mode!r}")
    names = target.split("/")
    if names[0] or not any(names):
        raise ValueError(f"{value}: the place must be an absolute path below /, not {target!r}")
    if "." in names or ".." in names:
        raise ValueError(f"{value}: the place must be a path without . and ..")
    tidy = "/" + "/".join(filter(None, names))
    return Volume(os.fsencode(source), os.fsencode(tidy), read_only=_VOLUME_MODES[mode])


def _volume_parts(value: str) -> tuple[str, str, str]:
    match split_list(value):
        case [source, target]:
            return source, target, "rw"
        case [source, target, mode]:
            return source, target, mode
        case _:
            raise ValueError(f"{value}: not of the form HOST:/path[:ro]")


def parse_id_ranges(value: str) -> tuple[IdRange, ...]:
    """Return the ranges of `disk:seen:length[:disk:seen:length...]`.

    A colon before the first number means nothing: containers/storage writes one.
    """
    numbers = value.removeprefix(":").split(":")
    if len(numbers) % 3:
        raise ValueError(f"{value}: not of the form disk:seen:length, repeated")
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    try:
        return tuple(_id_range(*map(_number, triple)) for triple in triples)
    except ValueError as error:
        raise ValueError(f"{value}: {error}") from None


def _id_range(disk: int, seen: int, length: int) -> IdRange:
    if max(disk, seen) + length > _NO_ID:
        raise ValueError("a range reaches past the largest id")
    return IdRange(disk, seen, length)


def parse_id(text: str) -> int:
    """Return a uid or a gid."""
    number = _number(text)
    if number >= _NO_ID:
        raise ValueError(f"{text} is not an id: too large")
    return number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def parse_size(text: str) -> int:
    """Return a number of bytes above 0: `67108864`, `64m`, `1g`, by powers of 1024 as docker."""
    found = _SIZE.fullmatch(text)
    size = 0 if found is None else int(found[1]) << _SHIFTS[(found[2] or "").lower()]
    if not 0 < size < 1 << 62:
        raise ValueError(f"{text}: not a size as 67108864, 64m or 1g")
    return size


def parse_choice(value: str, choices: Mapping[str, Value]) -> Value:
    """Return what `value` stands for."""
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
    return choices[value]
