"""What lies in a build context, for advice: sizes, without a look into any file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.advice.context_facts import ContextFacts
from overlayfs_py.dockerfile.ignore import LARGEST_BYTES, IgnoreRules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.dockerfile.ignore import Ignored

_MOST_FILES = 200_000  # more are not looked at: a context may be somebody's whole disk


def read_ignore(context: str, dockerfile: Path) -> IgnoreRules | None:
    """Read what says which files of a context a build does not see, None if nothing does."""
    for path in (
        dockerfile.with_name(f"{dockerfile.name}.dockerignore"),
        Path(context, ".dockerignore"),
    ):
        try:
            with path.open("rb") as file:
                return IgnoreRules.parse(file.read(LARGEST_BYTES + 1), str(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def context_facts(context: str, rules: IgnoreRules | None) -> ContextFacts | None:
    """Return the sizes in a directory; None if there is no such directory."""
    root = os.fsencode(context or ".")
    if not os.path.isdir(root):
        return None
    ignored = (rules or IgnoreRules()).root
    entries: dict[str, int] = {}
    files = 0
    for name, size in _sizes(root, "", ignored):
        top = name.partition("/")[0]
        entries[top] = entries.get(top, 0) + size
        files += 1
        if files >= _MOST_FILES:
            break
    return ContextFacts(
        bytes=sum(entries.values()),
        files=files,
        entries=entries,
        ignore_file=None if rules is None else ".dockerignore",
        complete=files < _MOST_FILES,
    )


def _sizes(directory: bytes, below: str, ignored: Ignored) -> Iterator[tuple[str, int]]:
    """The names and sizes of files that a build sees, those it cannot read left out."""
    waiting = [(directory, below, ignored)]
    while waiting:
        directory, below, ignored = waiting.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = below + os.fsdecode(entry.name)
            decided = ignored.below(path)
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if not decided.excluded or decided.may_show(path):
                    waiting.append((entry.path, f"{path}/", decided))
            elif not decided.excluded:
                yield path, status.st_size
