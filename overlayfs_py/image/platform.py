"""Platforms: `linux/arm64/v8`, and which image of an index suits one.

Names are normalised and images chosen as containerd does (platforms/database.go, compare.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.errors import BadPlatform, NoSuchPlatform
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.image.descriptor import Descriptor

_PART = late_pattern(r"[a-z0-9_.-]+")
_OS_NAMES = {"macos": "darwin"}
_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# A variant that says no more than the architecture does, and what an absent one means.
_PLAIN_VARIANTS = {("amd64", "v1"), ("arm64", "v8"), ("arm64", "8"), ("386", "")}
_KNOWN_OS = frozenset(
    {"android", "darwin", "dragonfly", "freebsd", "illumos", "linux", "netbsd", "openbsd"}
    | {"aix", "ios", "js", "plan9", "solaris", "wasip1", "windows"}
)


class Platform(NamedTuple):
    """What an image runs on; `variant` is empty where the architecture says everything."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in self[:3] if part)

    @property
    def normalized(self) -> Platform:
        """The same with the names that Go uses, and no variant that says nothing."""
        os = self.os.lower()
        architecture, variant = self.architecture.lower(), self.variant.lower()
        if architecture in _ARCHITECTURES:
            architecture, implied = _ARCHITECTURES[architecture]
            variant = variant or implied
        if architecture == "arm":
            variant = "v" + (variant or "v7").removeprefix("v")
        if (architecture, variant) in _PLAIN_VARIANTS or architecture == "386":
            variant = ""
        return self._replace(os=_OS_NAMES.get(os, os), architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """Return the platform of `OS`, `ARCHITECTURE`, `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.

    An operating system alone has no architecture to run on, and is refused.

    Raises:
        BadPlatform: it is none of these.
    """
    parts = text.lower().split("/")
    if not all(map(_PART.fullmatch, parts)):
        raise BadPlatform(text, "not of the form OS/ARCHITECTURE[/VARIANT]")
    match parts:
        case [alone] if _OS_NAMES.get(alone, alone) not in _KNOWN_OS:
            return Platform("linux", alone).normalized
        case [os, architecture]:
            return Platform(os, architecture).normalized
        case [os, architecture, variant]:
            return Platform(os, architecture, variant).normalized
        case _:
            raise BadPlatform(text, "not of the form OS/ARCHITECTURE[/VARIANT]")


def machine_platform(machine: str) -> Platform:
    """The platform of a Linux whose uname(2) says `machine`."""
    names = {
        "armv7l": "armhf",
        "armv6l": "armel",
        "armv8l": "armhf",
        "i686": "i386",
        "i586": "i386",
    }
    return Platform("linux", names.get(machine, machine)).normalized


def suitable(wanted: Platform) -> list[Platform]:
    """What runs on `wanted`, best first."""
    exact = wanted.normalized._replace(os_version="", os_features=())
    number = int(digits) if (digits := exact.variant.removeprefix("v")).isdecimal() else 0
    match exact.architecture:
        case "amd64":
            older = [
                exact._replace(variant=f"v{n}" if n > 1 else "") for n in range(number - 1, 0, -1)
            ]
            return [exact, *older, exact._replace(architecture="386", variant="")]
        case "arm":
            return [exact, *(exact._replace(variant=f"v{n}") for n in range(number - 1, 4, -1))]
        case "arm64":
            plain = exact._replace(variant="")
            older = [plain] if number == 9 else []  # v9 is the only one above v8
            return [exact, *older, *suitable(exact._replace(architecture="arm", variant="v8"))]
        case _:
            return [exact]


def runs_on(offered: Platform, wanted: Platform) -> bool:
    """Whether what is for one platform runs on another; what says nothing may run anywhere."""
    if not offered.architecture:
        return True
    return any(_same(offered, acceptable) for acceptable in suitable(wanted))


def choose(images: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """Return the image of an index that suits `wanted` best, the first of equals.

    One that does not say its platform suits if nothing better does.

    Raises:
        NoSuchPlatform: none suits.
    """
    for acceptable in suitable(wanted):
        for image in images:
            if image.platform is not None and _same(image.platform, acceptable):
                return image
    untold = next((image for image in images if image.platform is None and image.may_run), None)
    if untold is None:
        raise NoSuchPlatform(str(wanted), _offer(image.platform for image in images))
    return untold


def _same(offered: Platform, wanted: Platform) -> bool:
    return offered.normalized[:3] == wanted[:3]


def _offer(platforms: Iterable[Platform | None]) -> str:
    # "unknown/unknown" is what attestations beside the images say.
    names = {str(platform) for platform in platforms if platform and platform.os != "unknown"}
    return ", ".join(sorted(names)) or "nothing"
