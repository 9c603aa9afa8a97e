"""What root of a container may do: as root of one of docker's, unless options say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# In the order of their numbers in linux/capability.h.
_NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}
# moby, oci/caps/defaults.go.
_DEFAULT = frozenset(
    _NUMBERS[name]
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
    )
)
_ALL = "ALL"


def normal_name(text: str) -> str:
    """Return `NET_ADMIN` for `cap_net_admin`, and `ALL` for `all`.

    Raises:
        ValueError: there is no such capability.
    """
    name = text.upper().removeprefix("CAP_")
    if name != _ALL and name not in _NUMBERS:
        raise ValueError(f"{text}: there is no such capability")
    return name


def kept(added: Iterable[str], dropped: Iterable[str]) -> frozenset[int]:
    """What remains of docker's choice, as moby's oci/caps/utils.go has it; names are normal."""
    added, dropped = frozenset(added), frozenset(dropped)
    less = frozenset(_NUMBERS[name] for name in dropped - {_ALL})
    more = frozenset(_NUMBERS[name] for name in added - {_ALL})
    if _ALL in added:
        return frozenset(_NUMBERS.values()) - less
    if _ALL in dropped:
        return more
    return (_DEFAULT - less) | more


def number_of(name: str) -> int:
    """The number of a capability; its name is normal."""
    return _NUMBERS[name]


def names_of(kept: Iterable[int]) -> list[str]:
    """What an OCI runtime calls capabilities; one that nobody here knows is left out."""
    return [f"CAP_{_NAMES[number]}" for number in sorted(kept) if number < len(_NAMES)]
