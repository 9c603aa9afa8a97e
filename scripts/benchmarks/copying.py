"""Workloads that change files of a layer, and so copy them up, whole or in part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import require, run
from scripts.benchmarks.reading import spread
from scripts.benchmarks.stacks import LARGE_FILE
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from scripts.benchmarks.session import Session

FAMILY = Family()
_MIB = 1 << 20
_TIME_NS = 1_000_000_000_123_456_789
_OWNER = 1234
_OWNED = "usr/share"
# These change no data: a copy of the metadata is enough where metacopy=on.
_METACOPY = ("kernel+metacopy", "direct+metacopy")


@FAMILY.add("utimens", "utimens on lower files", also=_METACOPY)
def utimens(session: Session) -> None:
    names = spread(session.stack.files, session.scale.touched)
    paths = [str(session.root / name) for name in names]
    with session.timed("utimens on lower files", len(paths)):
        for path in paths:
            os.utime(path, ns=(_TIME_NS, _TIME_NS))
    right = sum(os.stat(path).st_mtime_ns == _TIME_NS for path in paths)
    require(right == len(paths), f"{right} of {len(paths)} files have the time")


@FAMILY.add("chown", "chown -R of lower /usr/share", also=_METACOPY)
def chown(session: Session) -> None:
    names = [name for name in session.stack.entries if name.startswith(f"{_OWNED}/")]
    with session.timed("chown -R of lower /usr/share", len(names) + 1):
        run(["chown", "-R", "--no-dereference", f"{_OWNER}:{_OWNER}", session.root / _OWNED])
    owned = sum(os.lstat(session.root / name).st_uid == _OWNER for name in names)
    require(owned == len(names), f"{owned} of {len(names)} entries have the owner")


@FAMILY.add("append", "append to a large file", stack=lambda scale: f"large-{scale.large_mib}")
def append(session: Session) -> None:
    path = session.root / LARGE_FILE
    with session.timed("append to a large file"):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(file, b"!")
        os.close(file)
    size = session.scale.large_mib * _MIB
    with path.open("rb") as changed, session.stack.entries[LARGE_FILE].open("rb") as original:
        require(os.fstat(changed.fileno()).st_size == size + 1, "it has another size")
        require(changed.read(_MIB) == original.read(_MIB), "it begins with something else")
        changed.seek(size)
        require(changed.read() == b"!", "it ends with something else")
