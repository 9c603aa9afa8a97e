"""`--change`: instructions of a Dockerfile that change nothing but an image's config.

Those of docker (moby, builder/dockerfile/builder.go, validCommitCommands) but for HEALTHCHECK, and
SHELL besides.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from overlayfs_py.transfer.failures import BadChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.image.config import RunConfig

_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_HIGHEST_PORT = 65535


def apply_changes(run: RunConfig, changes: Iterable[str]) -> RunConfig:
    """Return a config after some instructions, each `NAME VALUE`.

    Raises:
        BadChange: one is unknown or makes no sense.
    """
    for text in changes:
        name, _, value = text.strip().partition(" ")
        change = _CHANGES.get(name.upper())
        if change is None:
            known = ", ".join(sorted(_CHANGES))
            raise BadChange(text, f"not one of the instructions that change a config: {known}")
        try:
            run = change(run, value.strip())
        except ValueError as error:
            raise BadChange(text, str(error)) from None
    return run


def _command(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, cmd=_words(run, value))


def _entrypoint(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, entrypoint=_words(run, value))


def _words(run: RunConfig, value: str) -> tuple[str, ...]:
    """The exec form, or the shell form with its shell."""
    listed = _json_list(value)
    if listed is not None:
        return listed
    return (*(run.shell or _SHELL), value) if value else ()


def _json_list(value: str) -> tuple[str, ...] | None:
    try:
        return tuple(msgspec.json.decode(value, type=list[str]))
    except msgspec.DecodeError:
        return None


def _env(run: RunConfig, value: str) -> RunConfig:
    entries = dict(entry.partition("=")[::2] for entry in run.env or ())
    entries |= _pairs(value)
    return structs.replace(run, env=tuple(f"{name}={text}" for name, text in entries.items()))


def _labels(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, labels={**(run.labels or {}), **_pairs(value)})


def _pairs(value: str) -> dict[str, str]:
    """`A=b "C=d e"`, or the old `A b c`."""
    words = shlex.split(value)
    if not words:
        raise ValueError("a name and a value are needed")
    if "=" not in words[0]:
        name, _, text = value.partition(" ")
        if not text.strip():
            raise ValueError(f"{name} has no value")
        return {name: text.strip()}
    pairs = dict(word.partition("=")[::2] for word in words)
    if bad := next((word for word in words if "=" not in word or word.startswith("=")), None):
        raise ValueError(f"{bad} is not of the form NAME=VALUE")
    return pairs


def _expose(run: RunConfig, value: str) -> RunConfig:
    ports = {port for word in shlex.split(value) for port in _ports(word)}
    return structs.replace(run, exposed_ports=tuple(sorted({*(run.exposed_ports or ()), *ports})))


def _ports(word: str) -> list[str]:
    found = _PORT.fullmatch(word)
    if found is None:
        raise ValueError(f"{word} is no port")
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= _HIGHEST_PORT:
        raise ValueError(f"{word} is no range of ports")
    return [f"{port}/{(found[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _volume(run: RunConfig, value: str) -> RunConfig:
    listed = _json_list(value)
    places = tuple(shlex.split(value)) if listed is None else listed
    if not all(places) or not places:
        raise ValueError("a path is needed")
    return structs.replace(run, volumes=tuple(sorted({*(run.volumes or ()), *places})))


def _working_directory(run: RunConfig, value: str) -> RunConfig:
    if not value:
        raise ValueError("a path is needed")
    joined = posixpath.normpath(posixpath.join(run.working_dir or "/", value))
    return structs.replace(run, working_dir=posixpath.join("/", joined))


def _user(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, user=_required(value))


def _stop_signal(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, stop_signal=_required(value))


def _on_build(run: RunConfig, value: str) -> RunConfig:
    return structs.replace(run, on_build=(*(run.on_build or ()), _required(value)))


def _shell(run: RunConfig, value: str) -> RunConfig:
    listed = _json_list(value)
    if not listed:
        raise ValueError('a list is needed, as in ["/bin/bash", "-c"]')
    return structs.replace(run, shell=listed)


def _required(value: str) -> str:
    if not value:
        raise ValueError("a value is needed")
    return value


_CHANGES: dict[str, Callable[[RunConfig, str], RunConfig]] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _labels,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_directory,
}
