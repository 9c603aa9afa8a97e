"""What a name without a host may mean: `debian`, `team/app`.

Sources: containers-registries.conf(5), "SHORT-NAME ALIASING"; containers/image,
pkg/shortnames/shortnames.go, Resolve. Where no file says anything it is docker.io, as with docker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.reference import has_domain, parse_reference
from overlayfs_py.registry.configuration import ShortNameMode
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.configuration import Configuration


def candidates(configuration: Configuration, text: str) -> list[Reference]:
    """Return what a person may mean, in the order to try it; one where the name has a host.

    Raises:
        BadReference: it is no name.
        Refused: there are several, and the configuration wants somebody to be asked.
    """
    default = parse_reference(text)
    if has_domain(text):
        return [default]
    name, suffix = _split(text)
    mode = configuration.short_names
    if mode is not ShortNameMode.DISABLED and (alias := configuration.aliases.get(name)):
        return [parse_reference(alias + suffix)]
    found = [parse_reference(f"{host}/{text}") for host in configuration.search]
    if mode is ShortNameMode.ENFORCING and len(found) > 1:
        meant = ", ".join(each.familiar for each in found)
        raise Refused(text, f"registries.conf has it name one of {meant}: say which")
    return found or [default]


def _split(text: str) -> tuple[str, str]:
    """The repository, which aliases are about, and what follows it."""
    name, at, digest = text.partition("@")
    name, colon, tag = name.partition(":")  # no host, so no port
    return name, colon + tag + at + digest
