"""The family of our own errors: each is an OSError with an exit code, and its text is one line."""

from __future__ import annotations

import errno
import os

from overlayfs_py.terminal_text import for_terminal

BUG = 70  # EX_SOFTWARE of sysexits.h: what a process ends with that an unforeseen error ended


class OverlayError(OSError):
    """A failure of ours; `str()` is the line for a person, `OBJECT: reason`.

    `exit_code` is what a command ends with.
    """

    exit_code = 1
    details: tuple[str, ...] = ()  # lines to be shown below, fit for a terminal: a place in a file

    def __str__(self) -> str:
        return describe(self)


class Failure(OverlayError):
    """A failure whose line is known as a whole, from another process for example."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(None, message)
        self.exit_code = exit_code


class CorruptLayer(OverlayError):
    """A layer says something that no layer can say."""

    exit_code = 20

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(errno.EIO, why, path)


class NotArrived(OverlayError):
    """Part of a layer has not come from another machine within the time that a reader waits."""

    exit_code = 42  # as a registry that cannot be reached

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(errno.EIO, why, path)


class ReservedName(OverlayError):
    """A name that means a deletion in a layer cannot be the name of a file."""

    exit_code = 21

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.EPERM, "names that begin with .wh. mean deletions", name)


class ReservedXattr(OverlayError):
    """An xattr that means something in a layer cannot be set through the mount."""

    exit_code = 21

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.EPERM, "this xattr describes the layer itself", name)


class UpperInUse(OverlayError):
    """Another mount writes to the upper."""

    REASON = "Device or resource busy: another mount uses it"

    def __init__(self, option: bytes) -> None:
        super().__init__(errno.EBUSY, self.REASON, option)


def describe(error: OSError) -> str:
    """Return an operating system's error as one line: what it is about, and the reason."""
    reason = error.strerror or " ".join(map(str, error.args)) or type(error).__name__
    names = [_name(name) for name in (error.filename, error.filename2) if _is_path(name)]
    return for_terminal(": ".join([*names, " ".join(reason.splitlines())]))


def exit_code_of(error: OSError) -> int:
    """Return what a command ends with that fails with `error`."""
    return error.exit_code if isinstance(error, OverlayError) else 1


def _name(name: str | bytes) -> str:
    return os.fsdecode(name) or "''"  # as ls(1) shows it


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes)  # some calls put a descriptor there
