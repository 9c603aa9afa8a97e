"""`--filter` of `image ls`: docker's conditions on images.

Source: moby, daemon/images/images.go (Images); api/types/time/timestamp.go for `until`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.cli.flag_values import TRUTHS
from overlayfs_py.durations import is_duration, parse_duration
from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

    Fits = Callable[[StoredImage], bool]

_SECOND_NS = 1_000_000_000
_UNIX_TIME = late_pattern(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)


class Filter(NamedTuple):
    """`NAME=VALUE`, or `NAME!=VALUE` for what must not be so."""

    name: str
    value: str
    is_denied: bool


_NAMES = ("before", "dangling", "label", "reference", "since", "until")
_KNOWN = "before=, dangling=, label=, label!=, reference=, since= or until="


def parse_filter(text: str) -> Filter:
    """Return a filter as it was typed.

    Raises:
        click.BadParameter: no such filter, or no value for it.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip().lower(), value.strip()
    is_denied = name.endswith("!")
    name = name.removesuffix("!").rstrip()
    if not equals or name not in _NAMES or (is_denied and name != "label"):
        raise click.BadParameter(f"{text!r} is not {_KNOWN}", param_hint="--filter")
    if name == "dangling" and value not in TRUTHS:
        raise click.BadParameter(f"{text!r}: true or false", param_hint="--filter")
    return Filter(name, value, is_denied)


def condition(wanted: Filter, store: Store) -> Fits:
    """Return what says whether an image fits a filter on anything but its names.

    Raises:
        NotInStore, Ambiguous: there is no such image to compare with.
        click.BadParameter: `until` names no time.
    """
    match wanted.name:
        case "dangling":
            return lambda image: TRUTHS[wanted.value] is not bool(image.references)
        case "label":
            return lambda image: _has_label(image, wanted.value) is not wanted.is_denied
        case "before":
            limit_ns = _created_ns(store.image(wanted.value))
            return lambda image: _created_ns(image) < limit_ns
        case "since":
            limit_ns = _created_ns(store.image(wanted.value))
            return lambda image: _created_ns(image) > limit_ns
        case _:
            limit_ns = parse_until(wanted.value)
            return lambda image: _created_ns(image) < limit_ns


def references(filters: Sequence[Filter]) -> list[str]:
    """The patterns of names, one of which has to fit."""
    return [wanted.value for wanted in filters if wanted.name == "reference"]


def _has_label(image: StoredImage, text: str) -> bool:
    labels = image.config.run.labels or {}
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _created_ns(image: StoredImage) -> int:
    """When it was made; one that does not say is as old as can be, as in docker."""
    from overlayfs_py.image.times import parse_time

    created_ns = parse_time(image.config.created)
    return 0 if created_ns is None else created_ns


def parse_until(text: str) -> int:
    """A moment: so long ago (`1h30m`), seconds since the epoch, or a date as in RFC 3339."""
    if is_duration(text):
        return time.time_ns() - parse_duration(text)
    if _UNIX_TIME.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return int(whole) * _SECOND_NS + int(fraction.ljust(9, "0"))
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"until={text}: neither a time, as 2024-11-30T12:00:00, nor so long ago, as 24h",
            param_hint="--filter",
        ) from error
    return int(moment.timestamp() * _SECOND_NS)
