"""Every mount option in words: what `mount --help` lists, and TAB completes.

Apart from what understands them: a start that mounts needs no words.
"""

from __future__ import annotations

from typing import NamedTuple


class Described(NamedTuple):
    """Options that one line is about."""

    forms: tuple[str, ...]  # as they are written: `lowerdir=A:B`, `ro`
    meaning: str
    values: tuple[str, ...] = ()  # all that there are, the usual one first

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(form.partition("=")[0] for form in self.forms)


_SWITCH = ("on", "off")

OPTIONS = (
    Described(
        ("lowerdir=A:B",),
        "the layers, topmost first, image=NAME last for those of an image;"
        " one after two colons (A::D) is for data only;"
        r" `\:` and `\,` stand for : and , in a name; lowerdir+=A adds one layer below,"
        " datadir+=D one for data only",
    ),
    Described(
        ("upperdir=U", "workdir=W"),
        "where changes go; without them the mount is read-only",
    ),
    Described(
        ("upper_limit=2G",),
        "bytes that upper and workdir may take; then all that needs room is ENOSPC",
    ),
    Described(
        ("volume=HOST:/path[:ro]",),
        "show a host directory at /path instead of the stack; may be repeated",
    ),
    Described(
        ("uidmapping=DISK:SEEN:N", "gidmapping=DISK:SEEN:N"),
        "N ids from DISK on disk are shown as those from SEEN; may go on with more",
    ),
    Described(
        ("squash_to_root", "squash_to_uid=N", "squash_to_gid=N"),
        "every owner is shown as this one",
    ),
    Described(
        ("xattr_permissions=2",),
        "owner and mode lie in an xattr: 1 security.fuseoverlayfs.override_stat,"
        " 2 user.containers.override_stat (rootless layers)",
        ("0", "1", "2"),
    ),
    Described(
        ("userxattr",),
        "marks are user.overlay.*, as a user's mount writes them, not trusted.overlay.*",
    ),
    Described(
        ("redirect_dir=off",),
        "off, follow: renaming a directory of a layer is EXDEV; nofollow: and one renamed is EPERM",
        ("on", "off", "follow", "nofollow"),
    ),
    Described(
        ("metacopy=on",),
        "chown, chmod and the like copy no data; the kernel mounts such an upper only so",
        ("off", "on"),
    ),
    Described(("whiteout=aufs",), "write deletions as .wh.NAME files", ("device", "aufs")),
    Described(
        ("index=on",),
        "refuse an upper that another mount uses; without it, mount that read-only",
        ("off", "on"),
    ),
    Described(("volatile", "fsync=0"), "never wait for the disk"),
    Described(
        ("io=passthrough",),
        "read files straight from the layers (without an upper; root, Linux 6.9)",
        ("cached", "passthrough"),
    ),
    Described(
        ("writeback",),
        "the kernel collects small writes; a full disk is told at close (direct driver)",
        ("1", "0"),
    ),
    Described(
        ("idlepoll=off",),
        "whether processors poll between requests that come closely (direct driver)",
        ("auto", "on", "off"),
    ),
    Described(
        ("lease=FILE",), "hold FILE, shared, by flock(2), for as long as the mount is served"
    ),
    Described(("static_nlink",), "every directory has one link"),
    Described(
        (
            *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec"),
            *("atime", "noatime", "sync", "async", "dirsync"),
        ),
        "as mount(8)",
    ),
    Described(("remount",), "give a mount other flags: remount,ro"),
    Described(("xino=on",), "without effect: numbers are unique anyway", ("auto", "on", "off")),
    Described(("nfs_export=on",), "without effect: FUSE has handles of its own", ("off", "on")),
    Described(("uuid=auto",), "without effect", ("auto", "null", "on", "off")),
    Described(("verity=off",), "digests of data are not checked", ("off",)),
    Described(("fsname=TEXT", "subtype=TEXT"), "what the mount table shows"),
    Described(("context=TEXT",), "the SELinux context"),
    Described(("allow_root",), "only the mounting user and root may enter"),
    Described(("allow_other", "default_permissions"), "always so"),
)
