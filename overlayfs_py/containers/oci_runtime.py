"""A program that starts containers of a bundle: crun, runc, or another that takes their words.

Source: the runtime-spec, runtime.md, and what crun(1) and runc(8) say of their options.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("crun", "runc", "youki")
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_CANNOT_START, _CANNOT_RUN, _NOT_FOUND = 125, 126, 127
_NO_PROGRAM = ("executable file", "no such file or directory")
_NO_RUNNING = ("permission denied", "exec format error", "is a directory")
_NOT_EXECUTABLE = "open executable"  # crun's words for a directory
_STATE, _LOG = "state", "log"


class Runtime(NamedTuple):
    """One that is installed; its paths are relative to the bundle, the working directory."""

    path: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def argv(self, *words: str, makes_cgroups: bool) -> list[str]:
        """The command line for a bundle."""
        # Runc, where it is not root, goes on without cgroups by itself.
        own = ["--cgroup-manager=disabled"] if self.name == "crun" and not makes_cgroups else []
        return [self.path, "--root", _STATE, "--log", _LOG, "--log-format", "json", *own, *words]

    def failure(self, bundle: Path, program: str) -> Failure:
        """What the runtime's log says last, and the exit code that docker has for that."""
        said = _last_message(bundle / _LOG) or "it failed without a word"
        lowered = said.lower()
        if _NOT_EXECUTABLE in lowered:
            return Failure(f"{program}: Permission denied", _CANNOT_RUN)
        if any(words in lowered for words in _NO_RUNNING):
            why = next(words for words in _NO_RUNNING if words in lowered)
            return Failure(f"{program}: {why.capitalize()}", _CANNOT_RUN)
        if all(words in lowered for words in _NO_PROGRAM):
            return Failure(f"{program}: No such file or directory", _NOT_FOUND)
        return Failure(f"{self.name}: {said}", _CANNOT_START)


def find(text: str) -> Runtime:
    """Return the runtime of a name or an absolute path.

    Raises:
        Failure: it is not there.
    """
    path = text if text.startswith("/") else shutil.which(text, path=SEARCH_PATH)
    if path is None or not os.access(path, os.X_OK) or os.path.isdir(path):
        raise Failure(f"--runtime {text}: it is not installed, or not to be executed")
    return Runtime(path)


def _last_message(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        try:
            return str(json.loads(line)["msg"])
        except (ValueError, KeyError, TypeError):
            continue
    return lines[-1] if lines else ""
