"""One Dockerfile built by ours and by other builders, and what came of it in one form."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCKERFILES = Path(__file__).parent / "dockerfiles"
URL = "@URL@"  # in a Dockerfile: where its context is served
_XATTR = "SCHILY.xattr."
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Case:
    """A Dockerfile of tests/builds/dockerfiles, and what its first lines say of it."""

    name: str
    text: str
    options: tuple[str, ...] = ()
    ignore: str = ""
    prepare: str = ""  # commands of a shell that add to the context
    fails: bool = False

    @classmethod
    def read(cls, path: Path) -> Case:
        text = path.read_text()
        options = re.search(r"^# options: (.*)$", text, re.MULTILINE)
        ignore = re.search(r"^# ignore: (.*)$", text, re.MULTILINE)
        prepare = re.search(r"^# prepare: (.*)$", text, re.MULTILINE)
        return cls(
            path.stem,
            text,
            tuple(options[1].split()) if options else (),
            ignore[1].replace("\\n", "\n") + "\n" if ignore else "",
            prepare[1] if prepare else "",
            "# fails\n" in text,
        )


@dataclass
class Built:
    """An image, or why there is none."""

    config: dict[str, object] = field(default_factory=dict)
    tree: dict[str, str] = field(default_factory=dict)
    error: str = ""


def cases() -> list[Case]:
    """All of them, by name."""
    return [Case.read(path) for path in sorted(DOCKERFILES.glob("*.dockerfile"))]


def make_context(directory: Path, case: Case, url: str = "") -> Path:
    """Make the context that all cases have, with the case's own files.

    `url` is where the directory's parent is served, see `URL`.
    """
    make_files(directory)
    text = case.text.replace(URL, f"{url}/{directory.name}")
    (directory / "Dockerfile").write_text(text)
    if case.ignore:
        (directory / ".dockerignore").write_text(case.ignore)
    if case.prepare:
        done = run("bash", "-ec", f"umask 022; {case.prepare}", cwd=directory)
        assert done.returncode == 0, done.stderr.decode()
    return directory


def make_files(directory: Path, salt: str = "") -> None:
    """Make a directory with some files; those whose content counts have `salt` in it."""
    directory.mkdir(parents=True)
    files = {
        "a.txt": "a\n",
        "b.txt": "b\n",
        "readme.md": "read\n",
        "dir/one.txt": "one\n",
        "dir/two": "two\n",
        "dir/notes.md": "notes\n",
        "dir/sub/deep.txt": "deep\n",
        "dir2/three": "three\n",
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + salt)
        path.chmod(0o644)
    (directory / "dir/two").chmod(0o755)
    (directory / "dir/link").symlink_to("two")
    for path in [*directory.rglob("*/")]:
        path.chmod(0o755)
    for name, mode in (("archive.tar", "w"), ("archive.tar.gz", "w:gz")):
        with tarfile.open(directory / name, mode) as tar:
            member = tarfile.TarInfo("in/archive")
            data = f"text\n{salt}".encode()
            member.size, member.uid, member.mode = len(data), 33, 0o640
            tar.addfile(member, io.BytesIO(data))


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a directory by HTTP; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def for_buildctl(options: Sequence[str], context: Path) -> list[str]:
    """What buildctl has for options of `build`."""
    found: list[str] = []
    waiting = iter(options)
    for option in waiting:
        if option.startswith("--no-cache"):
            found += ["--opt", f"no-cache={option.partition('=')[2]}"]
            continue
        value = next(waiting)
        match option:
            case "--build-arg":
                found += ["--opt", f"build-arg:{value}"]
            case "--label":
                found += ["--opt", f"label:{value}"]
            case "--secret":
                found += ["--secret", value]
            case "--build-context":
                name, _, place = value.partition("=")
                found += ["--opt", f"context:{name}=local:{name}"]
                found += ["--local", f"{name}={context / place}"]
            case _:
                found += ["--opt", f"{option.removeprefix('--')}={value}"]
    return found


def run(*words: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*map(str, words)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
        **options,  # type: ignore[call-overload]
    )


def of_archive(path: Path) -> Built:
    """What an OCI layout in a tar holds."""
    with tarfile.open(path) as archive:

        def blob(digest: str) -> bytes:
            file = archive.extractfile(f"blobs/sha256/{digest.partition(':')[2]}")
            assert file is not None
            return file.read()

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.loads(index.read())["manifests"][0]["digest"]))
        while "manifests" in manifest:
            manifest = json.loads(blob(manifest["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))
        tree: dict[str, str] = {}
        for layer in manifest["layers"]:
            _lay_over(tree, blob(layer["digest"]))
    return Built(_told(config), dict(sorted(tree.items())))


def _told(config: dict[str, object]) -> dict[str, object]:
    """A config without what differs from build to build."""
    history = config.get("history") or []
    assert isinstance(history, list)
    found: dict[str, object] = {
        name: config.get(name) for name in ("architecture", "os", "variant", "author")
    }
    run = config.get("config")
    assert isinstance(run, dict)
    found["config"] = {
        name: value for name, value in run.items() if value not in (None, "", [], {})
    }
    found["history"] = [
        [entry.get("created_by"), bool(entry.get("empty_layer")), entry.get("comment")]
        for entry in history
    ]
    return found


def _lay_over(tree: dict[str, str], data: bytes) -> None:
    added: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as layer:
        for member in layer:
            path = "/" + member.name.removeprefix("./").strip("/")
            parent, _, name = path.rpartition("/")
            if name == _OPAQUE:
                _remove(tree, parent, with_itself=False)
            elif name.startswith(_WHITEOUT):
                _remove(tree, f"{parent}/{name.removeprefix(_WHITEOUT)}", with_itself=True)
            elif path not in ("/", "/."):
                added[path] = _described(layer, member, {**tree, **added})
    for path, told in added.items():
        if not told.startswith("d"):
            _remove(tree, path, with_itself=True)
    tree |= added


def _remove(tree: dict[str, str], path: str, *, with_itself: bool) -> None:
    for known in [*tree]:
        if known.startswith(f"{path}/") or (with_itself and known == path):
            del tree[known]


def _described(layer: tarfile.TarFile, member: tarfile.TarInfo, known: dict[str, str]) -> str:
    if member.islnk():
        return known["/" + member.linkname.removeprefix("./").lstrip("/")]
    words = [f"{member.uid}:{member.gid}"]
    if member.issym():
        return " ".join(["l", *words, member.linkname])
    words.append(f"{member.mode & 0o7777:o}")
    if member.isdir():
        kind = "d"
    elif member.isreg():
        kind = "f"
        file = layer.extractfile(member)
        assert file is not None
        words.append(file.read().decode(errors="replace"))
    else:
        kind = member.type.decode()
    words += (
        f"{key.removeprefix(_XATTR)}={value!r}"
        for key, value in sorted(member.pax_headers.items())
        if key.startswith(_XATTR)
    )
    return " ".join([kind, *words])


def differences(ours: Built, theirs: Built) -> Iterator[str]:
    """Yield what differs, a line each."""
    if bool(ours.error) != bool(theirs.error):
        yield f"error: {ours.error or 'none'} | {theirs.error or 'none'}"
        return
    for name in dict.fromkeys((*ours.config, *theirs.config)):
        mine, other = ours.config.get(name), theirs.config.get(name)
        if mine != other:
            yield from _of_part(name, mine, other)
    for path in sorted({*ours.tree, *theirs.tree}):
        if ours.tree.get(path) != theirs.tree.get(path):
            yield f"{path}: {ours.tree.get(path)!r} | {theirs.tree.get(path)!r}"


def _of_part(name: str, mine: object, other: object) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*mine, *other)):
            if mine.get(key) != other.get(key):
                yield f"{name}.{key}: {mine.get(key)!r} | {other.get(key)!r}"
    elif isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for at, (one, two) in enumerate(zip(mine, other, strict=True)):
            if one != two:
                yield f"{name}[{at}]: {one!r} | {two!r}"
    else:
        yield f"{name}: {mine!r} | {other!r}"
