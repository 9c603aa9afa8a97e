"""What a person is told when something cannot be done: one line, and an exit code."""

from __future__ import annotations

import os


class Failure(Exception):
    """An expected failure; its text is `OBJECT: reason`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def failure_of(error: OSError) -> Failure:
    """Return an operating system's error in words, with the exit code of its class."""
    reason = error.strerror or str(error)
    names = [_name(name) for name in (error.filename, error.filename2) if _is_path(name)]
    return Failure(": ".join([*names, reason]), getattr(error, "exit_code", 1))


def _name(name: str | bytes) -> str:
    return os.fsdecode(name) or "''"  # as ls(1) shows it


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes)  # some calls put a descriptor there
