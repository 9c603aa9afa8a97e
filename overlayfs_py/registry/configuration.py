"""registries.conf: mirrors, other locations, insecure and blocked registries, short names.

Sources: containers-registries.conf(5), version 2 of the format; for version 1, which has three
lists of hosts instead, containers/image, pkg/sysregistriesv2 (V1RegistriesConf).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from overlayfs_py.image.reference import Reference

_LARGEST_BYTES = 8 << 20


class Pulls(Enum):
    """What a mirror is used for."""

    ALL = "all"
    DIGEST_ONLY = "digest-only"
    TAG_ONLY = "tag-only"


class ShortNameMode(Enum):
    """What is done with a name that has no host, and no alias."""

    DISABLED = "disabled"  # aliases mean nothing
    PERMISSIVE = "permissive"  # all registries to search are tried
    ENFORCING = "enforcing"  # of several, somebody has to choose one


class _MirrorForm(msgspec.Struct, rename="kebab"):
    location: str
    insecure: bool = False
    pull_from_mirror: Pulls | None = None


class _RegistryForm(msgspec.Struct, rename="kebab"):
    prefix: str | None = None
    location: str | None = None
    insecure: bool = False
    blocked: bool = False
    mirror_by_digest_only: bool = False
    mirror: list[_MirrorForm] = []


class _HostsForm(msgspec.Struct):
    registries: list[str] = []


class _Version1Form(msgspec.Struct):
    """`[registries.search]`, `[registries.insecure]`, `[registries.block]`."""

    search: _HostsForm = msgspec.field(default_factory=_HostsForm)
    insecure: _HostsForm = msgspec.field(default_factory=_HostsForm)
    block: _HostsForm = msgspec.field(default_factory=_HostsForm)


class _FileForm(msgspec.Struct, rename="kebab"):
    registries: _Version1Form | None = None
    registry: list[_RegistryForm] = []
    aliases: dict[str, str] = {}
    unqualified_search_registries: list[str] | None = None
    short_name_mode: ShortNameMode | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """A repository, where it really lies."""

    domain: str
    path: str
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say together."""

    registries: Mapping[str, _RegistryForm] = field(default_factory=dict)  # by prefix
    aliases: Mapping[str, str] = field(default_factory=dict)
    search: Sequence[str] = ()  # hosts that a name without one may be of
    short_names: ShortNameMode = ShortNameMode.PERMISSIVE

    def locations(self, reference: Reference) -> list[Location]:
        """Return where to pull from: mirrors in their order, then the registry itself.

        Raises:
            Refused: it is blocked.
        """
        found = self._find(reference)
        if found is None:
            return [Location(reference.domain, reference.path)]
        prefix, registry = found
        if registry.blocked:
            raise Refused(str(reference), f"registries.conf blocks {prefix}")
        own = registry.location or (None if prefix.startswith("*.") else prefix)
        mirrors = [
            self._moved(reference, prefix, mirror.location, insecure=mirror.insecure)
            for mirror in registry.mirror
            if _serves(mirror, registry, reference)
        ]
        return [*mirrors, self._moved(reference, prefix, own, insecure=registry.insecure)]

    def push_location(self, reference: Reference) -> Location:
        """Return where to push to, which no mirror takes part in."""
        return self.locations(reference)[-1]

    def _find(self, reference: Reference) -> tuple[str, _RegistryForm] | None:
        matching = [prefix for prefix in self.registries if _matches(prefix, reference)]
        if not matching:
            return None
        longest = max(matching, key=len)
        return longest, self.registries[longest]

    def _moved(
        self, reference: Reference, prefix: str, location: str | None, *, insecure: bool
    ) -> Location:
        name = reference.repository
        if location is not None:
            # A wildcard stands for the whole host.
            start = len(reference.domain) if prefix.startswith("*.") else len(prefix)
            name = location.rstrip("/") + name[start:]
        domain, _, path = name.partition("/")
        if not domain or not path:
            raise Refused(str(reference), f"registries.conf sends it to {name!r}")
        return Location(domain, path, insecure)


def read_configuration(paths: Sequence[Path]) -> Configuration:
    """Return what the files say, the later before the earlier; one that is not there is empty.

    Raises:
        Refused: one is not such a file.
        OSError: one cannot be read.
    """
    registries: dict[str, _RegistryForm] = {}
    aliases: dict[str, str] = {}
    search: list[str] = []
    mode = ShortNameMode.PERMISSIVE
    for path in paths:
        form = _read(path)
        registries.update({_prefix(path, registry): registry for registry in form.registry})
        aliases.update(form.aliases)
        if form.unqualified_search_registries is not None:
            search = form.unqualified_search_registries
        mode = form.short_name_mode or mode
    known = {name: target for name, target in aliases.items() if target}
    return Configuration(registries, known, tuple(search), mode)


def _read(path: Path) -> _FileForm:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        return _FileForm()
    except UnicodeError as error:
        raise Refused(str(path), "not text") from error
    try:
        form = msgspec.convert(tomllib.loads(text), _FileForm)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise Refused(str(path), f"not a registries.conf: {error}") from error
    return form if form.registries is None else _of_version_1(path, form, form.registries)


def _of_version_1(path: Path, form: _FileForm, old: _Version1Form) -> _FileForm:
    """The same in version 2, as podman takes it.

    Raises:
        Refused: the file is of both versions.
    """
    if form.registry or form.unqualified_search_registries is not None:
        raise Refused(str(path), "versions 1 ([registries...]) and 2 of registries.conf, mixed")
    insecure, blocked = (_hosts(listed) for listed in (old.insecure, old.block))
    registries = [
        _RegistryForm(location=host, insecure=host in insecure, blocked=host in blocked)
        for host in dict.fromkeys((*insecure, *blocked))
    ]
    return _FileForm(
        registry=registries,
        aliases=form.aliases,
        unqualified_search_registries=_hosts(old.search),
        short_name_mode=form.short_name_mode,
    )


def _hosts(listed: _HostsForm) -> list[str]:
    return [host.rstrip("/") for host in listed.registries if host.rstrip("/")]


def _prefix(path: Path, registry: _RegistryForm) -> str:
    prefix = registry.prefix or registry.location
    if not prefix:
        raise Refused(str(path), "a registry has neither prefix nor location")
    return prefix.rstrip("/")


def _matches(prefix: str, reference: Reference) -> bool:
    if prefix.startswith("*."):
        return reference.domain.endswith(prefix[1:])
    text = str(reference)
    return text.startswith(prefix) and re.match(r"$|[/:@]", text[len(prefix) :]) is not None


def _serves(mirror: _MirrorForm, registry: _RegistryForm, reference: Reference) -> bool:
    pulls = mirror.pull_from_mirror or Pulls.ALL
    if registry.mirror_by_digest_only:
        pulls = Pulls.DIGEST_ONLY
    if reference.digest is None:
        return pulls is not Pulls.DIGEST_ONLY
    return pulls is not Pulls.TAG_ONLY
