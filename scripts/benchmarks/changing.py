"""Workloads that make, replace and remove files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import require, run
from scripts.benchmarks.workload import Family

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmarks.session import Session

FAMILY = Family()
_CONTENT = os.urandom(600)
_MIB = 1 << 20
_REPLACED = 8  # files that are written again and again
LOWER_TREES = ("usr/share", "usr/lib", "var")


@FAMILY.add("untar", "untar the root", "rm -rf of the untarred root")
def untar(session: Session) -> None:
    archive = session.stacks.tar()
    target = session.root / "untarred"
    target.mkdir()
    entries = len(session.stack.entries)
    with session.timed("untar the root", entries):
        run(["tar", "-C", target, "-xpf", archive])
    seen = sum(len(directories) + len(files) for _, directories, files in os.walk(target))
    require(seen == entries, f"{seen} of {entries} entries are there")
    with session.timed("rm -rf of the untarred root", entries):
        run(["rm", "-rf", target])
    require(not target.exists(), "it is still there")


@FAMILY.add("create", "create files of 600 B")
def create(session: Session) -> None:
    target = session.root / "created"
    target.mkdir()
    paths = [str(target / f"file-{number}") for number in range(session.scale.created)]
    with session.timed("create files of 600 B", len(paths)):
        for path in paths:
            _write_new(path)
    _require_contents(target, len(paths))


@FAMILY.add("replace", "write-temp-and-rename")
def replace(session: Session) -> None:
    target = session.root / "replaced"
    target.mkdir()
    paths = [str(target / f"file-{number % _REPLACED}") for number in range(session.scale.renamed)]
    with session.timed("write-temp-and-rename", len(paths)):
        for path in paths:
            temporary = f"{path}.new"
            _write_new(temporary)
            os.rename(temporary, path)
    _require_contents(target, _REPLACED)


@FAMILY.add("remove", "rm -rf of lower trees")
def remove(session: Session) -> None:
    trees = [session.root / name for name in LOWER_TREES]
    prefixes = tuple(f"{name}/" for name in LOWER_TREES)
    entries = sum(name.startswith(prefixes) for name in session.stack.entries)
    with session.timed("rm -rf of lower trees", entries):
        run(["rm", "-rf", *trees])
    left = [tree for tree in trees if tree.exists()]
    require(not left, f"still there: {left}")


@FAMILY.add("write", "write + fsync")
def write(session: Session) -> None:
    path = session.root / "written"
    block = os.urandom(_MIB)
    with session.timed("write + fsync", session.scale.written_mib), path.open("xb", 0) as file:
        for _ in range(session.scale.written_mib):
            file.write(block)
        os.fsync(file.fileno())
    size = path.stat().st_size
    require(size == session.scale.written_mib * _MIB, f"{size} bytes are there")


def _write_new(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, _CONTENT)
    os.close(file)


def _require_contents(directory: Path, count: int) -> None:
    contents = [path.read_bytes() for path in directory.iterdir()]
    require(contents == [_CONTENT] * count, f"{len(contents)} of {count} files, or wrong content")
