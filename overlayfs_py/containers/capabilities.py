"""What root of a container may do: as root of one of docker's, and no more."""

from __future__ import annotations

from overlayfs_py.syscalls import capabilities

# linux/capability.h has the numbers, moby's oci/caps/defaults.go the choice.
_DEFAULT = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}


def drop_others() -> None:
    """Give up what lets a process mount, load modules, trace its elders or set the clock."""
    capabilities.keep_only(frozenset(_DEFAULT.values()))
