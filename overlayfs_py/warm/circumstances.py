"""What a process is in and may do, as /proc shows it to another: what a child gets from its parent.

A command may only be forked from the template where the template and the process that wants it are
the same in all of this. What /proc shows to nobody, or to the process alone, is in
docs/design/0012-starts.md.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import priorities

if TYPE_CHECKING:
    from collections.abc import Collection

    # Each fact is compared as it is; an OSError's number stands for what cannot be read.
    Facts = dict[str, object]

_PROC = "/proc"
_MOST_BYTES = 1 << 16
# Lines of /proc/PID/status that differ between any two processes, or that are handed over. Those
# that are not known here are compared: a kernel may have something new that is inherited.
_ITS_OWN = frozenset(
    {
        *("Name", "State", "Tgid", "Ngid", "Pid", "PPid", "FDSize", "Umask", "Threads"),
        *("NStgid", "NSpid", "NSpgid", "NSsid"),
        *("VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem"),
        *("VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmSwap", "HugetlbPages", "CoreDumping"),
        *("SigQ", "SigPnd", "ShdPnd", "SigCgt"),
        *("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"),
    }
)
# 32 and 33, which posix_spawn(3) leaves ignored, and libc sets as it needs them.
_LIBCS_SIGNALS = 0b11 << 31
# With any other value nothing is compared: two filters, or two tracers, may differ in anything.
_NEVER = {"TracerPid": b"0", "NoNewPrivs": b"0", "Seccomp": b"0"}
# Of the fields of /proc/PID/stat from the third on, as proc_pid_stat(5) counts them less 3.
_STAT = {"terminal": 4, "priority": 15, "nice": 16, "realtime priority": 37, "policy": 38}
_FILES = ("cgroup", "limits", "oom_score_adj", "loginuid", "sessionid", "coredump_filter")


class Unlike(Exception):
    """A process is not one that the template may stand in for; says what of it is not so."""


class Process:
    """A process that is looked at, by a descriptor of its directory in /proc: never its successor.

    Closed by `close`.
    """

    def __init__(self, pid: int) -> None:
        """Open it.

        Raises:
            OSError: there is none.
        """
        self.pid = pid
        self._fd = os.open(f"{_PROC}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget it."""
        os.close(self._fd)

    def read(self, path: str) -> bytes:
        """What a file of it says.

        Raises:
            OSError: it cannot be read, or the process has ended.
        """
        # Not waiting: what a descriptor of it leads to may be a FIFO.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        fd = os.open(path, flags, dir_fd=self._fd)
        try:
            return os.read(fd, _MOST_BYTES)
        finally:
            os.close(fd)

    def link(self, path: str) -> str:
        """Where a link of it leads, as text."""
        return os.readlink(path, dir_fd=self._fd)

    def names(self, path: str) -> list[str]:
        """What lies in a directory of it."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def open_directory(self, path: str) -> int:
        """A descriptor (O_PATH) of the directory that a link of it leads to."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        return os.open(path, flags, dir_fd=self._fd)

    def facts(self) -> Facts:
        """What it is in and may do.

        Raises:
            Unlike: what confines it cannot be compared.
            OSError: it has ended, or may not be looked at.
        """
        return {
            **self._status(),
            **self._schedule(),
            **{f"{name} namespace": self.link(f"ns/{name}") for name in sorted(self.names("ns"))},
            **{name: self._read_or_errno(name) for name in _FILES},
            "security label": self._label(),
            "root": self._root(),
            "interpreter": self._interpreter(),
        }

    def umask(self) -> int:
        """Its file mode creation mask.

        Raises:
            OSError: it has ended.
        """
        mask = _fields(self.read("status")).get("Umask")
        if mask is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return int(mask, 8)

    def require_only(self, descriptors: Collection[int]) -> None:
        """Require that these descriptors are open, and no others.

        Raises:
            Unlike: it is not so.
        """
        others = {int(name) for name in self.names("fd")} ^ set(descriptors)
        if others:
            raise Unlike(f"open descriptors: {', '.join(map(str, sorted(others)))}")

    def _status(self) -> Facts:
        fields = _fields(self.read("status"))
        for name, value in _NEVER.items():
            if fields.get(name, value) != value:
                raise Unlike(name)
        found: Facts = {name: value for name, value in fields.items() if name not in _ITS_OWN}
        return {**found, "SigIgn": int(fields.get("SigIgn", b"0"), 16) & ~_LIBCS_SIGNALS}

    def _schedule(self) -> Facts:
        # The name before it, in parentheses, may have any byte in it.
        fields = self.read("stat").rpartition(b")")[2].split()
        return {
            **{name: fields[index] for name, index in _STAT.items()},
            "io priority": priorities.io_priority_of(self.pid),
        }

    def _read_or_errno(self, path: str) -> bytes | int | None:
        try:
            return self.read(path)
        except ProcessLookupError:
            raise
        except OSError as error:  # no such file in this kernel, no security module
            return error.errno

    def _label(self) -> Facts:
        """What security modules call it now, and at what it makes or executes next."""
        found: Facts = {}
        for name in sorted(self.names("attr")):
            if name == "prev":
                continue
            try:
                below = [f"attr/{name}/{each}" for each in self.names(f"attr/{name}")]
            except NotADirectoryError:
                below = [f"attr/{name}"]
            for path in below:
                if not path.endswith("/prev"):
                    found[path] = self._read_or_errno(path)
        return found

    def _root(self) -> Facts:
        """Which directory its root is, and of which mount: there may be others of the same."""
        fd = self.open_directory("root")
        try:
            found = os.fstat(fd)
            with open(f"/proc/self/fdinfo/{fd}") as file:
                mount = next((line for line in file if line.startswith("mnt_id:")), "")
        finally:
            os.close(fd)
        return {"path": self.link("root"), "inode": (found.st_dev, found.st_ino), "mount": mount}

    def _interpreter(self) -> tuple[int, int]:
        found = os.stat("exe", dir_fd=self._fd)
        return found.st_dev, found.st_ino


def require_same(ours: Facts, theirs: Facts) -> None:
    """Require that two processes are the same in all that is compared.

    Raises:
        Unlike: they are not.
    """
    if ours != theirs:
        names = sorted(ours.keys() | theirs.keys())
        raise Unlike(", ".join(name for name in names if ours.get(name) != theirs.get(name)))


def _fields(status: bytes) -> dict[str, bytes]:
    lines = (line.partition(b":") for line in status.splitlines())
    return {os.fsdecode(name): value.strip() for name, _, value in lines}
