"""COPY, ADD and WORKDIR as data: a context, an instruction, what the image then shows anew.

All of it is also built by buildkitd and buildah, see `scripts/compare-copies`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.trees import Dir, File, Node, Symlink

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Case:
    name: str
    instruction: str
    shows: Mapping[str, str] | str  # an error's text is a string
    context: Mapping[str, Node] | None = None  # None: CONTEXT


PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1001:1002:Ann:/home/ann:/bin/sh\n"
GROUP = b"root:x:0:\nann:x:1002:\nstaff:x:50:ann\n"

BASE: Mapping[str, Node] = {
    "": Dir(),
    "etc/passwd": File(PASSWD),
    "etc/group": File(GROUP),
    "dir/old": File(b"old"),
    "dir/sub/old": File(b"old"),
    "private": Dir(mode=0o700, uid=5, gid=6),
    "private/x": File(b"x"),
    "file": File(b"file"),
    "to-dir": Symlink("dir"),
    "to-file": Symlink("/file"),
    "to-nothing": Symlink("/not/there"),
    "up": Symlink("../../../dir"),
    "loop": Symlink("loop"),
    "tmp": Dir(mode=0o1777),
}

CONTEXT: Mapping[str, Node] = {
    "a": File(b"a"),
    "b.txt": File(b"b", mode=0o600),
    "run": File(b"run", mode=0o755),
    ".hidden": File(b"h"),
    "src": Dir(mode=0o750),
    "src/x": File(b"x"),
    "src/y.txt": File(b"y"),
    "src/deep/z.txt": File(b"z"),
    "src/empty": Dir(),
    "link": Symlink("src/x"),
    "link-dir": Symlink("src"),
    "out": Symlink("/etc/shadow"),
}

CASES = (
    Case("a file under another name", "COPY a /b", {"/b": "f 644 0:0 a"}),
    Case("a file into a directory that is there", "COPY a /dir", {"/dir/a": "f 644 0:0 a"}),
    Case("a file into a directory, by its slash", "COPY a /dir/", {"/dir/a": "f 644 0:0 a"}),
    Case(
        "a file into a new directory",
        "COPY a /new/",
        {"/new": "d 755 0:0", "/new/a": "f 644 0:0 a"},
    ),
    Case(
        "a file into new directories",
        "COPY a /new/er/name",
        {"/new": "d 755 0:0", "/new/er": "d 755 0:0", "/new/er/name": "f 644 0:0 a"},
    ),
    Case("a file over a file", "COPY a /file", {"/file": "f 644 0:0 a"}),
    Case("a file through a link to a file", "COPY a /to-file", {"/file": "f 644 0:0 a"}),
    Case("a file into a link to a directory", "COPY a /to-dir", {"/dir/a": "f 644 0:0 a"}),
    Case("a file below a link", "COPY a /to-dir/sub/n", {"/dir/sub/n": "f 644 0:0 a"}),
    Case("a link leads not above the root", "COPY a /up/n", {"/dir/n": "f 644 0:0 a"}),
    Case(
        "a link that leads nowhere yet",
        "COPY a /to-nothing",
        {"/not": "d 755 0:0", "/not/there": "f 644 0:0 a"},
    ),
    Case("links without an end", "COPY a /loop/x", "/loop: Too many levels of symbolic links"),
    Case(
        "a file below a file",
        "COPY a /file/x",
        "/file: cannot be made: it is no directory",
    ),
    Case(
        "a file over a directory",
        "COPY a /dir/../",
        {"/a": "f 644 0:0 a"},
    ),
    Case(
        "its mode is kept",
        "COPY b.txt run /dir/",
        {
            "/dir/b.txt": "f 600 0:0 b",
            "/dir/run": "f 755 0:0 run",
        },
    ),
    Case(
        "a directory's contents",
        "COPY src /new",
        {
            "/new": "d 755 0:0",
            "/new/deep": "d 755 0:0",
            "/new/deep/z.txt": "f 644 0:0 z",
            "/new/empty": "d 755 0:0",
            "/new/x": "f 644 0:0 x",
            "/new/y.txt": "f 644 0:0 y",
        },
    ),
    Case(
        "a directory into one that is there",
        "COPY src/deep /private",
        {"/private/z.txt": "f 644 0:0 z"},
    ),
    Case("a pattern", "COPY src/*.txt /dir/", {"/dir/y.txt": "f 644 0:0 y"}),
    Case("a pattern that names nothing", "COPY *.none /dir/", {}),
    Case("a link is followed", "COPY link /dir/", {"/dir/link": "f 644 0:0 x"}),
    Case(
        "a source that is not there",
        "COPY b.tx /dir/",
        "b.tx: not found in the context (did you mean b.txt?)",
    ),
    Case("owner by name", "COPY --chown=ann a /b", {"/b": "f 644 1001:1002 a"}),
    Case("owner and group", "COPY --chown=ann:staff a /b", {"/b": "f 644 1001:50 a"}),
    Case("owner by number", "COPY --chown=7 a /b", {"/b": "f 644 7:7 a"}),
    Case(
        "owner of made directories",
        "COPY --chown=7:8 a /n/b",
        {"/n": "d 755 7:8", "/n/b": "f 644 7:8 a"},
    ),
    Case("an octal mode", "COPY --chmod=4711 a /b", {"/b": "f 4711 0:0 a"}),
    Case("a symbolic mode", "COPY --chmod=go=,u+x a /b", {"/b": "f 700 0:0 a"}),
    Case("a working directory", "WORKDIR /w/x", {"/w": "d 755 0:0", "/w/x": "d 755 0:0"}),
    Case("a working directory that is there", "WORKDIR /dir", {}),
    Case("a working directory of a user", "WORKDIR --user=ann /w", {"/w": "d 755 1001:1002"}),
)
