"""Workloads on many layers and on many names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import count_lines, require
from scripts.benchmarks.reading import spread
from scripts.benchmarks.stacks import CROWD
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session
    from scripts.benchmarks.workload import Scale

FAMILY = Family()


@FAMILY.add("layers", "30 layers: walk, first", "30 layers: walk, again", stack="thin")
def walk_many_layers(session: Session) -> None:
    expected = len(session.stack.entries) + 1
    for case in ("30 layers: walk, first", "30 layers: walk, again"):
        with session.timed(case, expected):
            seen = count_lines(["find", session.root, "-printf", "%s\n"])
        require(seen == expected, f"find saw {seen} of {expected} entries")


def _crowd(scale: Scale) -> str:
    return f"crowd-{scale.crowd}"


@FAMILY.add("crowd-list", "crowded directory: ls -l", stack=_crowd)
def list_crowd(session: Session) -> None:
    with session.timed("crowded directory: ls -l", session.scale.crowd):
        seen = count_lines(["ls", "-l", session.root / CROWD])
    # The first line is the sum of the blocks.
    require(seen == session.scale.crowd + 1, f"ls saw {seen - 1} of {session.scale.crowd}")


@FAMILY.add("crowd-lookup", "crowded directory: lookups", stack=_crowd)
def look_up_in_crowd(session: Session) -> None:
    paths = _some(session)
    with session.timed("crowded directory: lookups", len(paths)):
        inodes = {os.lstat(path).st_ino for path in paths}
    require(len(inodes) == len(paths), f"{len(inodes)} inodes for {len(paths)} files")


@FAMILY.add("crowd-change", "crowded directory: create", "crowded directory: delete", stack=_crowd)
def change_crowd(session: Session) -> None:
    count = session.scale.crowd_operations
    directory = session.root / CROWD
    with session.timed("crowded directory: create", count):
        for number in range(count):
            os.close(os.open(f"{directory}/new-{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    seen = len(os.listdir(directory))
    require(seen == session.scale.crowd + count, f"{seen} entries after creating {count}")
    paths = _some(session)
    with session.timed("crowded directory: delete", count):
        for path in paths:
            os.unlink(path)
    seen = len(os.listdir(directory))
    require(seen == session.scale.crowd, f"{seen} entries after deleting {count}")


def _some(session: Session) -> list[str]:
    names = spread(session.stack.files, session.scale.crowd_operations)
    return [str(session.root / name) for name in names]
