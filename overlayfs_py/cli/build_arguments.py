"""The values of `build`'s options, read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.builds.outputs import OutputType, OutputWanted
from overlayfs_py.builds.request import NoCache

if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST_SECRET = 500 << 10  # BuildKit's
_IMAGE_PREFIX = "docker-image://"


def pairs(option: str, values: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` each.

    Raises:
        OptionError: one is not of that form.
    """
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals:
            raise OptionError(option, f"{value!r}: not of the form NAME=VALUE")
        found[name] = text
    return found


def build_arguments(values: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for the caller's own value, if there is one."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name:
            raise OptionError("--build-arg", f"{value!r}: not of the form NAME=VALUE or NAME")
        if equals:
            found[name] = text
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def secrets(values: Iterable[str]) -> dict[str, bytes]:
    """`id=NAME,src=FILE` or `id=NAME,env=VARIABLE` each.

    Raises:
        OptionError: one is none.
        OSError: a file cannot be read.
    """
    found = {}
    for value in values:
        fields = fields_of("--secret", value)
        unknown = fields.keys() - {"id", "src", "source", "env", "type"}
        ident = fields.get("id", "")
        if unknown or not ident:
            why = f"no key {min(unknown)!r}" if unknown else "id= is needed"
            raise OptionError("--secret", f"{value!r}: {why} (id=NAME,src=FILE or env=VARIABLE)")
        found[ident] = _secret(value, ident, fields)
    return found


def _secret(value: str, ident: str, fields: dict[str, str]) -> bytes:
    path = fields.get("src", fields.get("source", ""))
    variable = fields.get("env", "")
    kind = fields.get("type", "")
    if kind not in {"", "file", "env"}:
        raise OptionError("--secret", f"{value!r}: type is file or env")
    if not path and not variable:
        is_variable = kind == "env" or (kind == "" and ident in os.environ)
        path, variable = ("", ident) if is_variable else (ident, "")
    if variable:
        if variable not in os.environ:
            raise OptionError("--secret", f"{value!r}: there is no variable {variable}")
        return os.fsencode(os.environ[variable])
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST_SECRET + 1)
    if len(content) > _LARGEST_SECRET:
        raise OptionError("--secret", f"{value!r}: more than {_LARGEST_SECRET} bytes")
    return content


def no_cache(values: Iterable[str]) -> NoCache:
    """Nothing for all stages, or names of stages."""
    named = {name.strip().lower() for value in values for name in value.split(",")}
    return NoCache(all="" in named, stages=frozenset(named - {""}))


def network(value: str) -> bool:
    """Whether commands have a network.

    Raises:
        OptionError: it is a kind that is not offered.
    """
    if value not in {"default", "host", "none"}:
        raise OptionError("--network", f"{value!r}: default, host or none")
    return value != "none"


def outputs(values: Iterable[str]) -> list[OutputWanted]:
    """`type=TYPE,dest=PATH` each; a path alone is a directory, `-` alone a tar on stdout.

    Raises:
        OptionError: one is none, or of a type that is not offered.
    """
    return [wanted for value in values if (wanted := _output(value)) is not None]


def _output(value: str) -> OutputWanted | None:
    if "=" not in value:
        return OutputWanted(OutputType.TAR if value == "-" else OutputType.LOCAL, value)
    fields = fields_of("--output", value)
    kind, destination = fields.get("type", ""), fields.get("dest", "")
    unknown = fields.keys() - {"type", "dest"}
    if kind == "cacheonly" and not destination:
        return None
    if unknown or kind not in {each.value for each in OutputType}:
        what = f"no key {min(unknown)!r}" if unknown else f"no type {kind!r}"
        known = ", ".join(each.value for each in OutputType)
        raise OptionError("--output", f"{value!r}: {what} (type={known}; dest=PATH)")
    if not destination and kind == OutputType.LOCAL.value:
        raise OptionError("--output", f"{value!r}: dest= is needed")
    return OutputWanted(OutputType(kind), destination or "-")


def image_of(value: str) -> str | None:
    """The image that the value of a --build-context names; None for a directory."""
    if value.startswith(_IMAGE_PREFIX):
        return value.removeprefix(_IMAGE_PREFIX)
    return None if Path(value).is_dir() else value


def fields_of(option: str, value: str) -> dict[str, str]:
    """`KEY=VALUE,...`, as CSV.

    Raises:
        OptionError: it cannot be read.
    """
    import csv

    try:
        (row,) = csv.reader([value], strict=True)
    except (csv.Error, ValueError):
        raise OptionError(option, f"{value!r} cannot be read") from None
    return dict(field.partition("=")[::2] for field in row)
