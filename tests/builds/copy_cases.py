"""COPY, ADD and WORKDIR as data: a context, an instruction, what the image then shows anew.

All of it is also built by buildkitd and buildah, see `scripts/compare-copies`.
"""

from __future__ import annotations

import io
import stat
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.trees import Device, Dir, Fifo, File, HardLink, Socket, Symlink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.trees import Node


@dataclass(frozen=True)
class Case:
    name: str
    instruction: str
    shows: Mapping[str, str] | str  # an error's text is a string
    context: Mapping[str, Node] | None = None  # None: CONTEXT
    differs: Mapping[str, str] = field(default_factory=dict)  # by builder, why another does else


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep
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

STAGE: Mapping[str, Node] = {
    "": Dir(),
    "app": Dir(mode=0o750, uid=1, gid=2),
    "app/deep": Dir(mode=0o700, uid=5, gid=6),
    "app/deep/x": File(b"x", mode=0o600, uid=7, gid=8),
    "app/run": File(b"r", mode=0o4755, uid=3, gid=4),
    "app/same": HardLink("app/run"),
    "app/to": Symlink("/app/deep", uid=3, gid=4),
    "bin/sh": File(b"sh", mode=0o755),
    "cap": File(b"c", mode=0o755, xattrs={"security.capability": CAPABILITY, "user.x": b"1"}),
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


def tar(*members: tuple[str, str] | tuple[str, str, dict[str, object]], gz: str = "") -> bytes:
    """A tar of (name, data); a name that ends in a slash is a directory's.

    A third part sets fields of the entry.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{gz}", format=tarfile.PAX_FORMAT) as made:
        for name, data, *more in members:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mode = 0o755 if name.endswith("/") else 0o644
            info.size = len(data)
            for fields in more:
                for field, value in fields.items():
                    setattr(info, field, value)
            made.addfile(info, io.BytesIO(data.encode()))
    return out.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, object]:
    return {"type": kind, "linkname": target}


TAR = tar(("t/", ""), ("t/f", "data", {"uid": 3, "gid": 4, "mode": 0o4755}))
SRC = {
    "/new": "d 755 0:0",
    "/new/deep": "d 755 0:0",
    "/new/deep/z.txt": "f 644 0:0 z",
    "/new/empty": "d 755 0:0",
    "/new/x": "f 644 0:0 x",
    "/new/y.txt": "f 644 0:0 y",
}
NEW = {"/new": "d 755 0:0"}
A = "f 644 0:0 a"

CASES = (
    # Where a file goes.
    Case("a file under another name", "COPY a /b", {"/b": A}),
    Case("a file into the root", "COPY a /", {"/a": A}),
    Case("a file into a directory that is there", "COPY a /dir", {"/dir/a": A}),
    Case("a file into a directory by its slash", "COPY a /dir/", {"/dir/a": A}),
    Case("a file into a directory by a dot", "COPY a /dir/.", {"/dir/a": A}),
    Case("a file into a new directory", "COPY a /new/", {**NEW, "/new/a": A}),
    Case("a file into a new directory by a dot", "COPY a /new/.", {**NEW, "/new/a": A}),
    Case(
        "a file into new directories",
        "COPY a /new/er/name",
        {**NEW, "/new/er": "d 755 0:0", "/new/er/name": A},
    ),
    Case("several files", "COPY a b.txt /new/", {**NEW, "/new/a": A, "/new/b.txt": "f 600 0:0 b"}),
    Case("a later source replaces", "COPY a run /new", {"/new": "f 755 0:0 run"}),
    Case("a file over a file", "COPY a /file", {"/file": A}),
    Case("a file over a link in a directory", "COPY link /", {"/link": "f 644 0:0 x"}),
    Case("a file through a link to a file", "COPY a /to-file", {"/file": A}),
    Case("a file into a link to a directory", "COPY a /to-dir", {"/dir/a": A}),
    Case("a file into a link by its slash", "COPY a /to-dir/", {"/dir/a": A}),
    Case("a file below a link", "COPY a /to-dir/sub/n", {"/dir/sub/n": A}),
    Case("a link leads not above the root", "COPY a /up/n", {"/dir/n": A}),
    Case(
        "a link that leads nowhere yet",
        "COPY a /to-nothing",
        {"/not": "d 755 0:0", "/not/there": A},
    ),
    Case(
        "a directory by a link that leads nowhere yet",
        "COPY a /to-nothing/",
        {"/not": "d 755 0:0", "/not/there": "d 755 0:0", "/not/there/a": A},
    ),
    Case("links without an end", "COPY a /loop/x", "/loop: Too many levels of symbolic links"),
    Case("a file below a file", "COPY a /file/x", "/file: cannot be made: it is no directory"),
    Case(
        "a file by a slash over a file",
        "COPY a /file/",
        "/file: cannot be made: it is no directory",
    ),
    Case("a destination that goes up", "COPY a /dir/../b", {"/b": A}),
    Case("a destination above the root", "COPY a /../../b", {"/b": A}),
    Case(
        "a link is replaced in a directory", "COPY to-dir /", {"/to-dir": A}, {"to-dir": File(b"a")}
    ),
    Case("a destination of dots", "COPY a .", {"/a": A}),
    Case("a relative destination", "COPY a dir/b", {"/dir/b": A}),
    Case("two files that are one", "COPY a a /new/", {**NEW, "/new/a": A}),
    Case(
        "a file into a link to a file by its slash",
        "COPY a /to-file/",
        "/file: cannot be made: it is no directory",
    ),
    Case(
        "a file and a directory",
        "COPY a src/deep /new/",
        {**NEW, "/new/a": A, "/new/z.txt": "f 644 0:0 z"},
    ),
    Case(
        "a file over a directory of its name",
        "COPY tmp /",
        "/tmp: cannot replace a directory with a file",
        {"tmp": File()},
    ),
    # What a file is like.
    Case(
        "modes are kept",
        "COPY b.txt run /dir/",
        {"/dir/b.txt": "f 600 0:0 b", "/dir/run": "f 755 0:0 run"},
    ),
    Case("set-id bits are kept", "COPY s /", {"/s": "f 6755 0:0"}, {"s": File(mode=0o6755)}),
    Case("a context is root's", "COPY f /", {"/f": "f 644 0:0"}, {"f": File(uid=12, gid=13)}),
    Case("an empty file", "COPY e /", {"/e": "f 644 0:0"}, {"e": File()}),
    Case(
        "hard links",
        "COPY . /h/",
        {"/h": "d 755 0:0", "/h/one": "f 644 0:0 1", "/h/two": "= /h/one"},
        {"one": File(b"1"), "two": HardLink("one")},
    ),
    Case(
        "hard links by themselves",
        "COPY one two /h/",
        {"/h": "d 755 0:0", "/h/one": "f 644 0:0 1", "/h/two": "f 644 0:0 1"},
        {"one": File(b"1"), "two": HardLink("one")},
    ),
    Case(
        "capabilities",
        "COPY c /",
        {"/c": f"f 755 0:0 c security.capability={CAPABILITY!r}"},
        {"c": File(b"c", mode=0o755, xattrs={"security.capability": CAPABILITY})},
        differs={"buildkit": "loses them on the way from the client"},
    ),
    Case(
        "xattrs of users",
        "COPY c /",
        {"/c": "f 644 0:0 c user.x=b'1'"},
        {"c": File(b"c", xattrs={"user.x": b"1"})},
    ),
    Case("a FIFO", "COPY . /p/", {"/p": "d 755 0:0", "/p/q": "p 640 0:0"}, {"q": Fifo(mode=0o640)}),
    Case(
        "a device",
        "COPY . /p/",
        {"/p": "d 755 0:0", "/p/q": "c 600 0:0 1:3"},
        {"q": Device(stat.S_IFCHR, 1, 3)},
    ),
    Case(
        "a block device",
        "COPY . /p/",
        {"/p": "d 755 0:0", "/p/q": "b 600 0:0 7:1"},
        {"q": Device(stat.S_IFBLK, 7, 1)},
        differs={"buildkit": "makes a character device of it"},
    ),
    Case("a socket", "COPY . /p/", {"/p": "d 755 0:0", "/p/q": "f 755 0:0"}, {"q": Socket()}),
    Case(
        "a name with a newline",
        "COPY . /n/",
        {"/n": "d 755 0:0", "/n/a\nb": A},
        {"a\nb": File(b"a")},
    ),
    Case(
        "a name of 255 bytes",
        "COPY . /n/",
        {"/n": "d 755 0:0", f"/n/{'n' * 255}": A},
        {"n" * 255: File(b"a")},
    ),
    # Directories.
    Case("a directory's contents", "COPY src /new", SRC),
    Case("a directory's contents by a slash", "COPY src/ /new/", SRC),
    Case("a directory's contents by a dot", "COPY src/. /new", SRC),
    Case(
        "a directory that is there keeps what it is",
        "COPY src/deep /private",
        {"/private/z.txt": "f 644 0:0 z"},
    ),
    Case(
        "a directory in it becomes the new one",
        "COPY d /",
        {"/private": "d 711 0:0", "/private/n": "f 644 0:0"},
        {"d/private": Dir(mode=0o711), "d/private/n": File()},
    ),
    Case(
        "a directory over a file",
        "COPY src /file",
        "/file: cannot copy a directory to what is none",
    ),
    Case(
        "a directory in it over a file",
        "COPY d /",
        "/file: cannot copy a directory to what is none",
        {"d/file/x": File()},
    ),
    Case(
        "a directory in it over a link",
        "COPY d /",
        "/to-dir: cannot copy a directory to what is none",
        {"d/to-dir/x": File()},
    ),
    Case(
        "a file in it over a directory",
        "COPY d /",
        "/dir: cannot replace a directory with a file",
        {"d/dir": File()},
    ),
    Case("a file in it over a link", "COPY d /", {"/to-dir": A}, {"d/to-dir": File(b"a")}),
    Case(
        "a link in it stays one", "COPY d /", {"/l": "l 0:0 ../../x"}, {"d/l": Symlink("../../x")}
    ),
    Case("a link in it over a file", "COPY d /", {"/file": "l 0:0 x"}, {"d/file": Symlink("x")}),
    Case("the whole context", "COPY . /new", {**NEW, "/new/x": A}, {"x": File(b"a")}),
    Case("the whole context by a slash", "COPY / /new", {**NEW, "/new/x": A}, {"x": File(b"a")}),
    Case("an empty directory", "COPY d /new", NEW, {"d": Dir(mode=0o700)}),
    Case(
        "modes of directories",
        "COPY . /new",
        {**NEW, "/new/d": "d 1777 0:0"},
        {"d": Dir(mode=0o1777)},
    ),
    # What is found.
    Case("a pattern", "COPY src/*.txt /dir/", {"/dir/y.txt": "f 644 0:0 y"}),
    Case(
        "a pattern takes hidden files",
        "COPY * /n/",
        {"/n": "d 755 0:0", "/n/.h": A, "/n/v": A},
        {".h": File(b"a"), "v": File(b"a")},
    ),
    Case(
        "a pattern of directories takes their contents",
        "COPY d* /n/",
        {"/n": "d 755 0:0", "/n/x": A, "/n/y": A},
        {"d1/x": File(b"a"), "d2/y": File(b"a")},
    ),
    Case("a question mark", "COPY ?.txt /dir/", {"/dir/b.txt": "f 600 0:0 b"}),
    Case("a class", "COPY [a-c].txt /dir/", {"/dir/b.txt": "f 600 0:0 b"}),
    Case("a class that is not", "COPY [^a-c].txt /dir/", {}),
    Case("a pattern over directories", "COPY */*.txt /dir/", {"/dir/y.txt": "f 644 0:0 y"}),
    Case(
        "a backslash in a name",
        r"COPY a\\b /n",
        {"/n": A},
        {r"a\b": File(b"a"), "ab": File()},
        differs={"buildkit": "its client does not send such a file"},
    ),
    Case(
        "a backslash in a pattern",
        r"COPY a\\** /n/",
        {"/n": "d 755 0:0", "/n/a*b": A},
        {"a*b": File(b"a"), "axb": File()},
    ),
    Case("a pattern that names nothing", "COPY *.none /dir/", {}),
    Case(
        "a pattern below what is not there",
        "COPY none/*.txt /dir/",
        "none/*.txt: not found in the context",
    ),
    Case("a pattern below a file", "COPY a/*.txt /dir/", "a/*.txt: not found: a is no directory"),
    Case("a link is followed", "COPY link /dir/", {"/dir/link": "f 644 0:0 x"}),
    Case("a link of a pattern is followed", "COPY lin? /dir/", {"/dir/link": "f 644 0:0 x"}),
    Case("a link to a directory is followed", "COPY link-dir /new", SRC),
    Case("a path through a link", "COPY link-dir/x /new", {"/new": "f 644 0:0 x"}),
    Case(
        "a link that leads out",
        "COPY out /x",
        "out: not found: out is a link to /etc/shadow, which is not there",
    ),
    Case("a source above the root", "COPY ../../a /b", {"/b": A}),
    Case("a source by a slash", "COPY /a /b", {"/b": A}),
    Case(
        "a source that is not there",
        "COPY b.tx /dir/",
        "b.tx: not found in the context (did you mean b.txt?)",
    ),
    Case(
        "a source of another case",
        "COPY SRC/x /dir/",
        "SRC/x: not found in the context (did you mean src?)",
    ),
    Case(
        "a source below a file",
        "COPY a/x /dir/",
        "a/x: not found in the context: a is no directory",
    ),
    Case(
        "a source in a directory",
        "COPY src/yy.txt /dir/",
        "src/yy.txt: not found in the context: src has no yy.txt (did you mean src/y.txt?)",
    ),
    Case(
        "two stars are one",
        "COPY **/x /n/",
        {"/n": "d 755 0:0", "/n/x": A},
        {"x": File(b"b"), "d/x": File(b"a")},
    ),
    Case(
        "a brace is none",
        "COPY {a,run} /n",
        "{a,run}: not found in the context (did you mean run?)",
    ),
    Case("a name that has a bracket", "COPY x[[]y /n", {"/n": A}, {"x[y": File(b"a")}),
    Case("a bad pattern", "COPY x[y /n", "x[y: this cannot be a pattern", {"x[y": File(b"a")}),
    Case(
        "JSON",
        'COPY ["a", "b b", "/n/"]',
        {"/n": "d 755 0:0", "/n/a": A, "/n/b b": A},
        {"a": File(b"a"), "b b": File(b"a")},
    ),
    Case(
        "a name that is not UTF-8",
        "COPY . /n/",
        {"/n": "d 755 0:0", "/n/\udcff": A},
        {b"\xff": File(b"a")},
    ),
    Case(
        "a link to the context",
        "COPY here /n",
        {"/n": "d 755 0:0", "/n/here": "l 0:0 .", "/n/x": A},
        {"here": Symlink("."), "x": File(b"a")},
    ),
    Case(
        "a link above the context",
        "COPY up/x /n",
        {"/n": A},
        {"up": Symlink("../../.."), "x": File(b"a")},
    ),
    Case("an absolute link", "COPY l /n", {"/n": A}, {"l": Symlink("/d/x"), "d/x": File(b"a")}),
    Case(
        "links in circles",
        "COPY l /n",
        "l: Too many levels of symbolic links",
        {"l": Symlink("m"), "m": Symlink("l")},
    ),
    # .dockerignore
    Case(
        "an ignored file",
        "COPY . /n/",
        {"/n": "d 755 0:0", "/n/.dockerignore": "f 644 0:0 a", "/n/b": A},
        {".dockerignore": File(b"a"), "a": File(b"a"), "b": File(b"a")},
    ),
    Case(
        "an ignored source",
        "COPY a /n/",
        "a: not in the context: .dockerignore:2 hides it: a*",
        {".dockerignore": File(b"# no\na*\n"), "a": File()},
    ),
    Case(
        "an exception below an ignored directory",
        "COPY . /n/",
        {"/n": "d 755 0:0", "/n/d": "d 700 0:0", "/n/d/keep": A},
        {
            ".dockerignore": File(b"*\n!d/keep\n"),
            "d": Dir(mode=0o700),
            "d/keep": File(b"a"),
            "d/x": File(),
            "e/x": File(),
        },
    ),
    Case(
        "an ignored directory as source",
        "COPY d /n/",
        {"/n": "d 755 0:0", "/n/keep": A},
        {".dockerignore": File(b"d\n!d/keep\n"), "d/keep": File(b"a"), "d/x": File()},
    ),
    Case(
        "a pattern sees no ignored files",
        "COPY *.c /n/",
        {"/n": "d 755 0:0", "/n/a.c": A},
        {".dockerignore": File(b"b.c"), "a.c": File(b"a"), "b.c": File()},
    ),
    # Flags.
    Case("owner by name", "COPY --chown=ann a /b", {"/b": "f 644 1001:1002 a"}),
    Case("owner and group", "COPY --chown=ann:staff a /b", {"/b": "f 644 1001:50 a"}),
    Case("owner by number", "COPY --chown=7 a /b", {"/b": "f 644 7:7 a"}),
    Case("owner and group by number", "COPY --chown=7:8 a /b", {"/b": "f 644 7:8 a"}),
    Case("owner and an empty group", "COPY --chown=ann: a /b", {"/b": "f 644 1001:1002 a"}),
    Case("root and a group", "COPY --chown=root:staff a /b", {"/b": "f 644 0:50 a"}),
    Case(
        "an owner that is not there",
        "COPY --chown=bob a /b",
        "--chown=bob: no user 'bob' in the image's /etc/passwd",
        differs={"buildkit": "takes root"},
    ),
    Case(
        "a group that is not there",
        "COPY --chown=ann:bobs a /b",
        "--chown=ann:bobs: no group 'bobs' in the image's /etc/group",
        differs={"buildkit": "takes the user's"},
    ),
    Case(
        "owner of made directories",
        "COPY --chown=7:8 a /n/b",
        {"/n": "d 755 7:8", "/n/b": "f 644 7:8 a"},
    ),
    Case(
        "owner of all below",
        "COPY --chown=7:8 src/deep /n",
        {"/n": "d 755 7:8", "/n/z.txt": "f 644 7:8 z"},
    ),
    Case(
        "owner of a link",
        "COPY --chown=7:8 d /n",
        {"/n": "d 755 7:8", "/n/l": "l 7:8 x"},
        {"d/l": Symlink("x")},
    ),
    Case(
        "a directory that is there keeps its owner",
        "COPY --chown=7:8 a /dir/",
        {"/dir/a": "f 644 7:8 a"},
    ),
    Case("an octal mode", "COPY --chmod=4711 a /b", {"/b": "f 4711 0:0 a"}),
    Case(
        "an octal mode of directories",
        "COPY --chmod=711 src /new",
        {path: told.replace("644", "711").replace("755", "711") for path, told in SRC.items()},
    ),
    Case(
        "an octal mode of made directories",
        "COPY --chmod=711 a /n/b",
        {"/n": "d 711 0:0", "/n/b": "f 711 0:0 a"},
    ),
    Case("a mode and its zeros", "COPY --chmod=0640 a /b", {"/b": "f 640 0:0 a"}),
    Case("a symbolic mode", "COPY --chmod=go=,u+x a /b", {"/b": "f 700 0:0 a"}),
    Case(
        "a symbolic mode of directories",
        "COPY --chmod=u=rwX,go=rX d /n",
        {"/n": "d 755 0:0", "/n/e": "d 755 0:0", "/n/e/x": "f 644 0:0", "/n/e/y": "f 755 0:0"},
        {"d/e": Dir(mode=0o700), "d/e/x": File(mode=0o600), "d/e/y": File(mode=0o700)},
    ),
    Case("a symbolic mode that takes away", "COPY --chmod=a-w,o= run /b", {"/b": "f 550 0:0 run"}),
    Case("a symbolic mode that copies", "COPY --chmod=g=u,o=g run /b", {"/b": "f 777 0:0 run"}),
    Case("symbolic set-id bits", "COPY --chmod=ug+s,+t run /b", {"/b": "f 7755 0:0 run"}),
    Case(
        "a mode that is none",
        "COPY --chmod=999 a /b",
        "--chmod=999: not an octal number between 0 and 7777",
    ),
    Case(
        "a mode that is a word",
        "COPY --chmod=rwx a /b",
        "--chmod=rwx: neither octal nor symbolic (u=rwX,go=rX)",
    ),
    Case(
        "a mode of a link",
        "COPY --chmod=600 d /n/",
        {"/n": "d 600 0:0", "/n/l": "l 0:0 x"},
        {"d/l": Symlink("x")},
    ),
    Case("linked", "COPY --link a /dir/b", {"/dir/b": A}),
    Case(
        "linked, with an owner by name",
        "COPY --link --chown=ann a /b",
        "--chown=ann: names need layers below, and --link knows of none: use numbers",
    ),
    Case("linked, with an owner", "COPY --link --chown=7:8 a /b", {"/b": "f 644 7:8 a"}),
    Case("linked over a link", "COPY --link a /to-dir/b", {"/to-dir": "d 755 0:0", "/to-dir/b": A}),
    Case(
        "linked takes directories for its own",
        "COPY --link a /private/b",
        {"/private": "d 755 0:0", "/private/b": A},
    ),
    Case(
        "excluded",
        "COPY --exclude=*.txt --exclude=deep src /new",
        {**NEW, "/new/empty": "d 755 0:0", "/new/x": "f 644 0:0 x"},
    ),
    Case(
        "excluded anywhere",
        "COPY --exclude=**/*.txt src /new",
        {**NEW, "/new/deep": "d 755 0:0", "/new/empty": "d 755 0:0", "/new/x": "f 644 0:0 x"},
    ),
    Case(
        "excluded but for",
        "COPY --exclude=* --exclude=!deep/z.txt src /new",
        {**NEW, "/new/deep": "d 755 0:0", "/new/deep/z.txt": "f 644 0:0 z"},
    ),
    Case("a source is not excluded", "COPY --exclude=a a /b", {"/b": A}),
    Case(
        "parents",
        "COPY --parents src/deep/z.txt /new/",
        {
            **NEW,
            "/new/src": "d 750 0:0",
            "/new/src/deep": "d 755 0:0",
            "/new/src/deep/z.txt": "f 644 0:0 z",
        },
    ),
    Case(
        "parents from a pivot on",
        "COPY --parents ./src/./deep/z.txt /new/",
        {**NEW, "/new/deep": "d 755 0:0", "/new/deep/z.txt": "f 644 0:0 z"},
    ),
    Case(
        "parents of a pattern",
        "COPY --parents src/**/*.txt /new/",
        {
            **NEW,
            "/new/src": "d 750 0:0",
            "/new/src/deep": "d 755 0:0",
            "/new/src/deep/z.txt": "f 644 0:0 z",
            "/new/src/y.txt": "f 644 0:0 y",
        },
    ),
    Case(
        "parents of a directory",
        "COPY --parents src/deep /new/",
        {
            **NEW,
            "/new/src": "d 750 0:0",
            "/new/src/deep": "d 755 0:0",
            "/new/src/deep/z.txt": "f 644 0:0 z",
        },
    ),
    Case(
        "parents of several",
        "COPY --parents a src/x /new/",
        {**NEW, "/new/a": A, "/new/src": "d 750 0:0", "/new/src/x": "f 644 0:0 x"},
    ),
    Case(
        "parents of what is not there",
        "COPY --parents src/none /new/",
        "src/none: not found in the context: src has no none",
    ),
    Case(
        "parents and excluded",
        "COPY --parents --exclude=**/deep src /new/",
        {
            **NEW,
            "/new/src": "d 750 0:0",
            "/new/src/empty": "d 755 0:0",
            "/new/src/x": "f 644 0:0 x",
            "/new/src/y.txt": "f 644 0:0 y",
        },
    ),
    Case("parents of a pattern that names nothing", "COPY --parents src/*.none /new/", NEW),
    Case(
        "excluded in a pattern",
        "COPY --exclude=*.md *.* /n/",
        {"/n": "d 755 0:0", "/n/a.c": A, "/n/b.md": A},
        {"a.c": File(b"a"), "b.md": File(b"a")},
    ),
    Case(
        "excluded from each directory of a pattern",
        "COPY --exclude=*.md d* /n/",
        {"/n": "d 755 0:0", "/n/x": A},
        {"d1/x": File(b"a"), "d1/b.md": File(), "d2/b.md": File()},
    ),
    Case(
        "excluded by a path",
        "COPY --exclude=src/x . /n/",
        {"/n": "d 755 0:0", "/n/src": "d 755 0:0", "/n/x": A},
        {"src/x": File(), "x": File(b"a")},
    ),
    Case(
        "parents of all",
        "COPY --parents **/x /n/",
        {"/n": "d 755 0:0", "/n/d": "d 755 0:0", "/n/d/x": A, "/n/x": A},
        {"x": File(b"a"), "d/x": File(b"a"), "e/y": File()},
    ),
    Case(
        "parents of a link",
        "COPY --parents d/l /n/",
        {"/n": "d 755 0:0", "/n/d": "d 755 0:0", "/n/d/l": "l 0:0 x"},
        {"d/l": Symlink("x"), "d/x": File()},
    ),
    Case(
        "parents through a link",
        "COPY --parents l/x /n/",
        "l/x: l is a link, and --parents follows none",
        {"d/x": File(), "l": Symlink("d")},
    ),
    Case(
        "parents from a pivot that is a link",
        "COPY --parents l/./x /n/",
        {"/n": "d 755 0:0", "/n/x": A},
        {"d/x": File(b"a"), "l": Symlink("d")},
        differs={"buildkit": "follows no link there"},
    ),
    Case(
        "parents of nothing",
        "COPY --parents . /n/",
        ".: --parents is for what is below a directory: try *",
    ),
    Case(
        "parents from a pivot that is a file",
        "COPY --parents a/./* /n/",
        "a/./*: not found: a is no directory",
    ),
    Case(
        "parents from a pivot of which some are files",
        "COPY --parents */./x /n/",
        {"/n": "d 755 0:0", "/n/x": A},
        {"f": File(), "d/x": File(b"a")},
    ),
    Case(
        "parents with an owner",
        "COPY --parents --chown=7 d/x /n/",
        {"/n": "d 755 7:7", "/n/d": "d 755 7:7", "/n/d/x": "f 644 7:7 a"},
        {"d/x": File(b"a")},
    ),
    Case(
        "parents with a mode",
        "COPY --parents --chmod=700 d/x /n/",
        {"/n": "d 700 0:0", "/n/d": "d 700 0:0", "/n/d/x": "f 700 0:0 a"},
        {"d/x": File(b"a")},
    ),
    Case(
        "parents that are there",
        "COPY --parents private/n /",
        {"/private": "d 711 5:6", "/private/n": A},
        {"private": Dir(mode=0o711), "private/n": File(b"a")},
    ),
    Case("parents of one file at once", "COPY --parents a /n/", {"/n": "d 755 0:0", "/n/a": A}),
    Case("a directory linked", "COPY --link src/deep /dir", {"/dir/z.txt": "f 644 0:0 z"}),
    Case(
        "a linked file over a directory",
        "COPY --link a /dir",
        {"/dir": A, "/dir/old": "gone", "/dir/sub": "gone", "/dir/sub/old": "gone"},
    ),
    # ADD.
    Case("an added directory", "ADD src/deep /new", {**NEW, "/new/z.txt": "f 644 0:0 z"}),
    Case(
        "tars of a pattern",
        "ADD *.tar /new/",
        {**NEW, "/new/a": "f 644 0:0 1", "/new/b": "f 644 0:0 2"},
        {"1.tar": File(tar(("a", "1"))), "2.tar": File(tar(("b", "2")))},
    ),
    Case(
        "a tar and a file",
        "ADD t.tar x /new/",
        {**NEW, "/new/b": "f 644 0:0 2", "/new/x": A},
        {"t.tar": File(tar(("b", "2"))), "x": File(b"a")},
    ),
    Case(
        "a tar in a directory stays one",
        "ADD d /new/",
        {**NEW, "/new/t.tar": f"f 644 0:0 {TAR.decode()}"},
        {"d/t.tar": File(TAR)},
    ),
    Case(
        "a tar by a link",
        "ADD l /new/",
        {**NEW, "/new/t": "d 755 0:0", "/new/t/f": "f 4755 3:4 data"},
        {"l": Symlink("d/t.tar"), "d/t.tar": File(TAR)},
    ),
    Case(
        "an empty tar",
        "ADD t.tar /new/",
        {**NEW, "/new/t.tar": f"f 644 0:0 {chr(0) * 10240}"},
        {"t.tar": File(bytes(10240))},
    ),
    Case(
        "a tar without directories",
        "ADD t.tar /new/",
        {**NEW, "/new/a": "d 755 0:0", "/new/a/b": "d 755 0:0", "/new/a/b/c": "f 644 0:0 1"},
        {"t.tar": File(tar(("a/b/c", "1")))},
    ),
    Case(
        "a tar with its root",
        "ADD t.tar /private/",
        {"/private/f": "f 644 0:0 1"},
        {"t.tar": File(tar(("./", "", {"mode": 0o700, "uid": 9}), ("./f", "1")))},
    ),
    Case(
        "a tar over a file",
        "ADD t.tar /file",
        "/file: cannot be made: it is no directory",
        {"t.tar": File(TAR)},
    ),
    Case(
        "a tar with an absolute name",
        "ADD t.tar /new/",
        {**NEW, "/new/etc": "d 755 0:0", "/new/etc/f": "f 644 0:0 1"},
        {"t.tar": File(tar(("/etc/f", "1")))},
    ),
    Case(
        "a tar's link that leads out",
        "ADD t.tar /new/",
        {**NEW, "/new/l": "l 0:0 ../../etc", "/new/etc": "d 755 0:0", "/new/etc/f": "f 644 0:0 1"},
        {"t.tar": File(tar(("etc/", ""), ("l", "", link("../../etc")), ("l/f", "1")))},
    ),
    Case(
        "a tar's name that is there twice",
        "ADD t.tar /new/",
        {**NEW, "/new/f": "f 644 0:0 2"},
        {"t.tar": File(tar(("f", "1"), ("f", "2")))},
    ),
    Case(
        "a tar's devices",
        "ADD t.tar /new/",
        {**NEW, "/new/c": "c 644 0:0 1:3", "/new/p": "p 644 0:0"},
        {
            "t.tar": File(
                tar(
                    ("c", "", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
                    ("p", "", {"type": tarfile.FIFOTYPE}),
                )
            )
        },
    ),
    Case(
        "a tar's xattrs",
        "ADD t.tar /new/",
        {**NEW, "/new/f": "f 644 0:0 1 user.x=b'2'"},
        {"t.tar": File(tar(("f", "1", {"pax_headers": {"SCHILY.xattr.user.x": "2"}})))},
    ),
    Case(
        "a linked tar",
        "ADD --link t.tar /dir",
        {"/dir/t": "d 755 0:0", "/dir/t/f": "f 4755 3:4 data"},
        {"t.tar": File(TAR)},
    ),
    Case("an added file", "ADD a /b", {"/b": A}),
    Case(
        "a tar",
        "ADD t.tar /new",
        {**NEW, "/new/t": "d 755 0:0", "/new/t/f": "f 4755 3:4 data"},
        {"t.tar": File(TAR)},
    ),
    Case(
        "a copied tar",
        "COPY t.tar /new/",
        {**NEW, "/new/t.tar": f"f 644 0:0 {TAR.decode()}"},
        {"t.tar": File(TAR)},
    ),
    Case(
        "a tar that is not unpacked",
        "ADD --unpack=false t.tar /new/",
        {**NEW, "/new/t.tar": f"f 644 0:0 {TAR.decode()}"},
        {"t.tar": File(TAR)},
    ),
    *(
        Case(
            f"a tar of {kind}",
            "ADD any /new/",
            {**NEW, "/new/t": "d 755 0:0", "/new/t/f": "f 644 0:0 1"},
            {"any": File(tar(("t/", ""), ("t/f", "1"), gz=kind))},
        )
        for kind in ("gz", "bz2", "xz")
    ),
    Case(
        "what only begins as a gzip",
        "ADD g.gz /new/",
        {**NEW, "/new/g.gz": "f 644 0:0 gz"},
        {"g.gz": File(b"gz")},
    ),
    Case(
        "an owner of a tar",
        "ADD --chown=7:8 t.tar /new",
        {"/new": "d 755 7:8", "/new/t": "d 755 7:8", "/new/t/f": "f 4755 7:8 data"},
        {"t.tar": File(TAR)},
    ),
    Case(
        "a mode of a tar means nothing",
        "ADD --chmod=600 t.tar /new",
        {**NEW, "/new/t": "d 755 0:0", "/new/t/f": "f 4755 3:4 data"},
        {"t.tar": File(TAR)},
    ),
    Case(
        "a tar over what is there",
        "ADD t.tar /",
        {
            "/dir/old": "f 644 0:0 new",
            "/file": "d 755 0:0",
            "/file/x": "f 644 0:0 1",
            "/to-dir": "f 644 0:0 2",
            "/dir/sub": "f 644 0:0 3",
            "/dir/sub/old": "gone",
        },
        {
            "t.tar": File(
                tar(
                    ("dir/old", "new"),
                    ("file/", ""),
                    ("file/x", "1"),
                    ("to-dir", "2"),
                    ("dir/sub", "3"),
                )
            )
        },
    ),
    Case(
        "a tar into a link of the image",
        "ADD t.tar /",
        {"/dir/x": "f 644 0:0 1"},
        {"t.tar": File(tar(("to-dir/x", "1")))},
    ),
    Case(
        "a tar with a link in its way",
        "ADD t.tar /new/",
        {**NEW, "/new/l": "l 0:0 d", "/new/d": "d 755 0:0", "/new/d/x": "f 644 0:0 1"},
        {"t.tar": File(tar(("d/", ""), ("l", "", link("d")), ("l/x", "1")))},
    ),
    Case(
        "a tar's hard links",
        "ADD t.tar /new/",
        {**NEW, "/new/a": "f 644 0:0 1", "/new/b": "= /new/a"},
        {"t.tar": File(tar(("a", "1"), ("b", "", link("a", tarfile.LNKTYPE))))},
    ),
    Case(
        "a tar's hard link to a file of the image",
        "ADD t.tar /",
        {"/linked": "= /file"},
        {"t.tar": File(tar(("linked", "", link("file", tarfile.LNKTYPE))))},
    ),
    Case(
        "a tar of which a directory replaces itself",
        "ADD t.tar /",
        {"/dir": "d 700 1:1"},
        {"t.tar": File(tar(("dir/", "", {"mode": 0o700, "uid": 1, "gid": 1})))},
    ),
    Case(
        "a directory that was a file for a while",
        "ADD t.tar /",
        {"/dir/sub": "d 700 0:0", "/dir/sub/old": "gone"},
        {"t.tar": File(tar(("dir/sub", ""), ("dir/sub/", "", {"mode": 0o700})))},
    ),
    Case(
        "a damaged tar",
        "ADD t.tar /new/",
        "t.tar: bad tar at byte 1536: it ends at byte 1600, in the middle of an entry",
        {"t.tar": File(TAR[:1600])},
    ),
    Case(
        "a tar whose first name leads out",
        "ADD t.tar /new/",
        "t.tar: bad tar at byte 0 ('../x'): the name leads out of the layer",
        {"t.tar": File(tar(("../x", "x")))},
    ),
    # Of another stage.
    Case("an owner of a stage", "COPY --from=stage /app/run /dir/", {"/dir/run": "f 4755 3:4 r"}),
    Case(
        "a directory of a stage",
        "COPY --from=stage /app /new",
        {
            **NEW,
            "/new/deep": "d 700 5:6",
            "/new/deep/x": "f 600 7:8 x",
            "/new/run": "f 4755 3:4 r",
            "/new/same": "= /new/run",
            "/new/to": "l 3:4 /app/deep",
        },
    ),
    Case(
        "another owner for a stage's",
        "COPY --from=stage --chown=ann /app/deep /new",
        {"/new": "d 755 1001:1002", "/new/x": "f 600 1001:1002 x"},
    ),
    Case("a link of a stage", "COPY --from=stage /app/to/x /new", {"/new": "f 600 7:8 x"}),
    Case(
        "a link to a directory of a stage",
        "COPY --from=stage /app/to /new",
        {**NEW, "/new/x": "f 600 7:8 x"},
    ),
    Case(
        "a pattern of a stage",
        "COPY --from=stage app/r* bin/* /dir/",
        {"/dir/run": "f 4755 3:4 r", "/dir/sh": "f 755 0:0 sh"},
    ),
    Case(
        "a stage has no .dockerignore",
        "COPY --from=stage /bin /n/",
        {"/n": "d 755 0:0", "/n/sh": "f 755 0:0 sh"},
        {".dockerignore": File(b"*")},
    ),
    Case(
        "a stage's xattrs",
        "COPY --from=stage /cap /n",
        {"/n": f"f 755 0:0 c security.capability={CAPABILITY!r} user.x=b'1'"},
    ),
    Case(
        "all of a stage over the image",
        "COPY --from=stage / /",
        {
            "/app": "d 750 1:2",
            "/app/deep": "d 700 5:6",
            "/app/deep/x": "f 600 7:8 x",
            "/app/run": "f 4755 3:4 r",
            "/app/same": "= /app/run",
            "/app/to": "l 3:4 /app/deep",
            "/bin": "d 755 0:0",
            "/bin/sh": "f 755 0:0 sh",
            "/cap": f"f 755 0:0 c security.capability={CAPABILITY!r} user.x=b'1'",
        },
    ),
    Case(
        "what a stage does not have",
        "COPY --from=stage /ap /n",
        "/ap: not found in stage (did you mean cap or app?)",
    ),
    Case(
        "a stage's parents",
        "COPY --from=stage --parents /app/deep/x /n/",
        {
            "/n": "d 755 0:0",
            "/n/app": "d 750 1:2",
            "/n/app/deep": "d 700 5:6",
            "/n/app/deep/x": "f 600 7:8 x",
        },
    ),
    # Heredocs.
    Case("a heredoc", "COPY <<f /new\nline\nf", {"/new": "f 644 0:0 line\n"}),
    Case(
        "a heredoc in a directory", "COPY <<f.sh /dir/\n#!x\nf.sh", {"/dir/f.sh": "f 644 0:0 #!x\n"}
    ),
    Case(
        "heredocs and a file",
        "COPY a <<x <<y /new/\n1\nx\n2\ny",
        {**NEW, "/new/a": A, "/new/x": "f 644 0:0 1\n", "/new/y": "f 644 0:0 2\n"},
    ),
    Case(
        "a heredoc's mode and owner",
        "COPY --chmod=755 --chown=ann <<f /new\nline\nf",
        {"/new": "f 755 1001:1002 line\n"},
    ),
    Case(
        "a heredoc over a directory",
        "COPY <<f /dir/sub/../../dir\nx\nf",
        {"/dir/f": "f 644 0:0 x\n"},
    ),
    # WORKDIR.
    Case("a working directory", "WORKDIR /w/x", {"/w": "d 755 0:0", "/w/x": "d 755 0:0"}),
    Case("a working directory that is there", "WORKDIR /private", {}),
    Case("a working directory by a link", "WORKDIR /to-dir/n", {"/dir/n": "d 755 0:0"}),
    Case("a working directory of a user", "USER ann\nWORKDIR /w", {"/w": "d 755 1001:1002"}),
    Case("a working directory of a number", "USER 7\nWORKDIR /w", {"/w": "d 755 7:7"}),
    Case(
        "a working directory over a file",
        "WORKDIR /file",
        "/file: cannot be made: it is no directory",
    ),
)

# Where Debian's buildah, 1.28, does else than BuildKit and the table, and what that is.
BUILDAH: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "a symbolic mode",
            "a symbolic mode of directories",
            "a symbolic mode that takes away",
            "a symbolic mode that copies",
            "symbolic set-id bits",
        ),
        "refuses symbolic modes",
    ),
    **dict.fromkeys(
        (
            "an octal mode of directories",
            "an octal mode of made directories",
            "a mode of a link",
        ),
        "makes directories on the way with mode 0755",
    ),
    **dict.fromkeys(
        ("a class that is not", "a pattern that names nothing"), "refuses what names nothing"
    ),
    **dict.fromkeys(
        ("a file through a link to a file", "a link that leads nowhere yet"),
        "replaces the link",
    ),
    **dict.fromkeys(
        (
            "a file over a directory of its name",
            "a directory in it over a file",
            "a directory in it over a link",
            "a file in it over a directory",
        ),
        "replaces a directory by a file, and the other way round",
    ),
    **dict.fromkeys(
        ("a backslash in a name", "a backslash in a pattern", "a name that has a bracket"),
        "takes no literal wildcards",
    ),
    "a file into a new directory by a dot": "takes the dot for nothing",
    "a later source replaces": "wants a directory for several sources",
    "set-id bits are kept": "strips them",
    "a socket": "leaves it out",
    "an exception below an ignored directory": "makes the directory anew",
    "a tar with its root": "describes the destination by it",
    "an owner of a tar": "keeps the owners of the archive",
}
