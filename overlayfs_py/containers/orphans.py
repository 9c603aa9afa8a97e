"""Processes that a command leaves behind, where no pid namespace ends them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from overlayfs_py.syscalls import namespaces


def adopt() -> None:
    """Be the parent of all that this process's children start, once theirs has ended."""
    namespaces.adopt_orphans()


def end_all() -> None:
    """Kill all children, and what becomes children by that; returns when none is left."""
    own = os.getpid()
    while True:
        for pid in _children_of(own):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)  # which may leave us its children
        except ChildProcessError:
            return


def _children_of(parent: int) -> list[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # pid (comm) state ppid: a comm may hold anything.
                text = (directory / "stat").read_bytes().rpartition(b")")[2]
                if int(text.split()[1]) == parent:
                    found.append(int(directory.name))
    return found
