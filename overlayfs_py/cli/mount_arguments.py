"""What `-v`, `--mount` and `--tmpfs` say, in docker's forms."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.store.containers import NAME, ContainerMount, MountKind

if TYPE_CHECKING:
    from collections.abc import Mapping

# What docker takes after the last colon; those that mean nothing here change nothing.
_READ_ONLY = {"ro": True, "readonly": True, "rw": False}
_WITHOUT_EFFECT = frozenset({"z", "Z", "cached", "delegated", "consistent", "private", "rprivate"})
_NO_COPY = "nocopy"
_SOURCE = ("source", "src")
_TARGET = ("target", "destination", "dst")
_FLAG = ("readonly", "ro")
_KNOWN = {*_SOURCE, *_TARGET, *_FLAG, "type", "consistency", "volume-nocopy", "bind-propagation"}
_TMPFS = {"tmpfs-size": "size", "tmpfs-mode": "mode"}


def parse_volume(text: str) -> ContainerMount:
    """Return what `-v [SOURCE:]TARGET[:OPTIONS]` says; a SOURCE with a slash is the host's.

    Raises:
        OptionError: it makes no sense.
    """
    parts = text.split(":")
    read_only = no_copy = False
    if len(parts) == 2 and not parts[1].startswith("/") and not _are_options(parts[1]):
        raise OptionError("-v", f"{text}: {parts[1]}: the place in the container begins with /")
    if len(parts) > 1 and not parts[-1].startswith("/"):
        options = parts.pop().split(",")
        read_only, no_copy = _read_only(text, options), _NO_COPY in options
    if not 1 <= len(parts) <= 2:
        raise OptionError("-v", f"{text}: not of the form [NAME|HOST:]PATH[:ro]")
    target = _target("-v", parts[-1])
    if len(parts) == 1:
        return ContainerMount(
            kind=MountKind.VOLUME, target=target, read_only=read_only, no_copy=no_copy
        )
    return _from(parts[0], target, read_only=read_only, no_copy=no_copy)


def _from(source: str, target: str, *, read_only: bool, no_copy: bool) -> ContainerMount:
    if "/" in source or source in {".", "..", "~"}:
        path = os.path.abspath(source)
        return ContainerMount(kind=MountKind.BIND, source=path, target=target, read_only=read_only)
    return ContainerMount(
        kind=MountKind.VOLUME,
        source=_name("-v", source),
        target=target,
        read_only=read_only,
        no_copy=no_copy,
    )


def parse_mount(text: str) -> ContainerMount:
    """Return what `--mount type=volume,src=data,dst=/data,readonly` says.

    Raises:
        OptionError: it makes no sense.
    """
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    unknown = fields.keys() - _KNOWN - _TMPFS.keys()
    if unknown:
        raise OptionError("--mount", f"{min(unknown)}: not known")
    kind = fields.get("type", "volume")
    target = _target("--mount", _first(fields, _TARGET))
    source = _first(fields, _SOURCE)
    read_only = any(_is_set(fields, name) for name in _FLAG)
    if kind == "tmpfs":
        options = ",".join(f"{_TMPFS[name]}={fields[name]}" for name in _TMPFS if name in fields)
        return _tmpfs("--mount", target, options)
    if kind == "bind":
        if not source.startswith("/"):
            raise OptionError("--mount", f"{source!r}: a bind's source is an absolute path")
        return ContainerMount(
            kind=MountKind.BIND, source=source, target=target, read_only=read_only
        )
    if kind != "volume":
        raise OptionError("--mount", f"type={kind}: volume, bind or tmpfs is needed")
    name = _name("--mount", source) if source else ""
    return ContainerMount(
        kind=MountKind.VOLUME,
        source=name,
        target=target,
        read_only=read_only,
        no_copy=_is_set(fields, "volume-nocopy"),
    )


def parse_tmpfs(text: str) -> ContainerMount:
    """Return what `--tmpfs PATH[:OPTIONS]` says.

    Raises:
        OptionError: it makes no sense.
    """
    path, _, options = text.partition(":")
    return _tmpfs("--tmpfs", _target("--tmpfs", path), options)


def _tmpfs(option: str, target: str, options: str) -> ContainerMount:
    from overlayfs_py.containers.tmpfs import Tmpfs

    try:
        Tmpfs.parse(os.fsencode(target), options)
    except ValueError as error:
        raise OptionError(option, f"{target}: {error}") from None
    return ContainerMount(kind=MountKind.TMPFS, target=target, options=options)


def _is_set(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "false") not in {"false", "0"}


def _first(fields: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((fields[name] for name in names if name in fields), "")


def _are_options(text: str) -> bool:
    return all(each in {*_READ_ONLY, *_WITHOUT_EFFECT, _NO_COPY} for each in text.split(","))


def _read_only(text: str, options: list[str]) -> bool:
    found = False
    for option in options:
        if option in _READ_ONLY:
            found = _READ_ONLY[option]
        elif option not in _WITHOUT_EFFECT and option != _NO_COPY:
            raise OptionError("-v", f"{text}: {option!r}: not known")
    return found


def _target(option: str, path: str) -> str:
    if not path.startswith("/") or not path.strip("/") or "\0" in path:
        raise OptionError(option, f"{path!r}: not an absolute path below /")
    return path


def _name(option: str, text: str) -> str:
    if NAME.fullmatch(text) is None:
        why = "a volume's name is at least two letters, digits, dots, dashes or underscores"
        raise OptionError(option, f"{text!r}: {why}")
    return text
