"""Options of `run` and `create` on what of the host a container shares."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL_ACCESS = "rwm"
_SYSCTL = late_pattern(r"([a-z0-9_]+(?:[./][A-Za-z0-9_-]+)+)=(.*)", re.DOTALL)
# Those that a namespace has its own of (docker/cli, opts/opts.go, ValidateSysctl).
_OF_IPC = late_pattern(r"kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)")
_OF_QUEUES = "fs.mqueue."
_OF_NETWORK = "net."
_PORT = late_pattern(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:/(?:tcp|udp))?")
_OOM_SCORES = range(-1000, 1001)
_OWN = ("private", "")


class Modes(NamedTuple):
    """Namespaces, as records have them."""

    ipc: str = "private"
    uts: str = "private"
    cgroupns: str = "host"


def modes(
    *,
    ipc: str | None,
    pid: str | None,
    uts: str | None,
    userns: str | None,
    cgroupns: str | None,
    hostname: str | None,
) -> Modes:
    """Return what the options on namespaces ask for."""
    if pid is not None and pid not in _OWN:
        why = "a container ends with its own pid namespace, and has one"
        raise OptionError("--pid", f"{pid}: {why}")
    if userns is not None and userns != "host":
        why = "an ordinary user's containers share one user namespace, root's have the host's"
        raise OptionError("--userns", f"{userns}: {why}")
    if uts is not None and uts not in (*_OWN, "host"):
        raise OptionError("--uts", f"{uts}: host or private")
    if uts == "host" and hostname is not None:
        raise OptionError("--uts", "host: conflicts with --hostname")
    if ipc is not None and ipc not in (*_OWN, "shareable", "none", "host"):
        raise OptionError("--ipc", f"{ipc}: private, none or host")
    if cgroupns is not None and cgroupns not in {"host", "private"}:
        raise OptionError("--cgroupns", f"{cgroupns}: host or private")
    return Modes(
        ipc if ipc in {"none", "host"} else "private", uts or "private", cgroupns or "host"
    )


def devices(texts: Sequence[str]) -> tuple[str, ...]:
    """HOST:PLACE of each; a directory of devices is one, too."""
    return tuple(map(_device, texts))


def _device(text: str) -> str:
    source, *rest = text.split(":")
    access = rest.pop() if rest and not rest[-1].startswith("/") else _ALL_ACCESS
    place = rest.pop() if rest else source
    if rest or not source.startswith("/"):
        raise OptionError("--device", f"{text}: not of the form /dev/HOST[:/dev/PLACE[:rwm]]")
    if set(access) != set(_ALL_ACCESS):
        why = "nothing here takes single rights away from a device"
        raise OptionError("--device", f"{text}: only {_ALL_ACCESS}: {why}")
    if posixpath.normpath(place) != place or not place.startswith("/dev/"):
        raise OptionError("--device", f"{text}: its place inside is not below /dev")
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise OptionError("--device", f"{source}: {error.strerror}") from None
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
        raise OptionError("--device", f"{source}: not a device")
    return f"{source}:{place}"


def groups(texts: Sequence[str]) -> tuple[str, ...]:
    """Names or numbers of groups."""
    for text in texts:
        if text == "keep-groups" or not text:
            raise OptionError("--group-add", f"{text!r}: a group of the image, or a number")
    return tuple(texts)


def ports(texts: Sequence[str]) -> tuple[str, ...]:
    """What `--expose` names."""
    for text in texts:
        if _PORT.fullmatch(text) is None:
            raise OptionError("--expose", f"{text}: not of the form PORT[-LAST][/tcp|udp]")
    return tuple(texts)


def sysctls(texts: Sequence[str], *, network: str, ipc: str) -> tuple[str, ...]:
    """NAME=VALUE of each, of the container's own namespaces."""
    return tuple(_sysctl(text, network, ipc) for text in texts)


def _sysctl(text: str, network: str, ipc: str) -> str:
    form = _SYSCTL.fullmatch(text)
    if form is None:
        raise OptionError("--sysctl", f"{text}: not of the form NAME=VALUE")
    name = form[1].replace("/", ".")
    if name.startswith(_OF_NETWORK):
        if network == "host":
            raise OptionError("--sysctl", f"{text}: not with the host's network")
    elif _OF_IPC.fullmatch(name) or name.startswith(_OF_QUEUES):
        if ipc == "host":
            raise OptionError("--sysctl", f"{text}: not with --ipc host")
    else:
        raise OptionError("--sysctl", f"{text}: the host's, and no namespace's own")
    return f"{name}={form[2]}"


def volumes_from(texts: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """Containers, and whether their volumes are to be read only."""
    found = []
    for text in texts:
        name, _, mode = text.partition(":")
        if mode not in {"", "ro", "rw"}:
            raise OptionError("--volumes-from", f"{text}: not of the form CONTAINER[:ro]")
        found.append((name, mode == "ro"))
    return tuple(found)


def oom_score(value: int | None) -> int:
    """What is added to the kernel's score of a process when memory runs out."""
    if value is not None and value not in _OOM_SCORES:
        raise OptionError("--oom-score-adj", f"{value}: not from -1000 to 1000")
    return value or 0
