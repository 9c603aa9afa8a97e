"""Layers: how many there are, and what lies in them twice."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.advice.view import takes_everything
from overlayfs_py.dockerfile.instructions import Add, Copy, CopyingInstruction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import Placed, RunView, View
    from overlayfs_py.dockerfile.instructions import Instruction

_LASTLOG_RECORD = 292  # bytes of /var/log/lastlog for each number below a user's
_HIGH_USER = 100_000
_LONGEST_PATH = 1000
_MOST_PATHS = 100  # of one command that are looked at
_ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zst|lz4))$")
_UNPACKERS = ("tar", "unzip", "gunzip", "bunzip2", "unxz", "unlzma", "uncompress", "bsdtar")


def _merge(view: View) -> Iterator[Found]:
    for stage in view.kept:
        before: RunView | None = None
        views = {id(run.run): run for run in stage.runs}
        for each in stage.stage.instructions:
            run = views.get(id(each))
            if run is not None and before is not None and _may_merge(before, run):
                both = f"{before.run.source} && {run.run.command.text}"
                yield Found(
                    run.run.position,
                    f"a RUN right after the one of line {before.run.position.line}",
                    cost="one more layer; what the second removes of the first stays in the image",
                    rewrite=both if len(both) < 1000 else "",
                    last_line=run.run.last_line,
                )
            before = run


def _may_merge(first: RunView, second: RunView) -> bool:
    runs = (first.run, second.run)
    if any(run.heredocs or not run.command.shell for run in runs):
        return False
    flags = {(run.network, tuple(mount.text for mount in run.mounts)) for run in runs}
    # Several commands in one RUN: it is one of several on purpose.
    return len(flags) == 1 and all(len(each.commands) <= 1 for each in (first, second))


def _user_number(view: View) -> Iterator[Found]:
    for stage in view.kept:
        for run in stage.runs:
            for placed in run.of("useradd"):
                command = placed.command
                number = _option(command.words, "-u", "--uid")
                if command.has("-l", "--no-log-init") or not number.isdecimal():
                    continue
                if int(number[:10]) >= _HIGH_USER:
                    size = int(number[:10]) * _LASTLOG_RECORD
                    yield Found(
                        placed.position,
                        f"useradd of user {number[:10]} makes a log with room for all users below",
                        cost="a file with holes, which many tools store whole",
                        rewrite=run.run.source.replace("useradd", "useradd -l", 1),
                        bytes=size,
                        last_line=run.run.last_line,
                    )


def _option(words: list[str], *names: str) -> str:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else "".join(words[index + 1 : index + 2])
        if word.startswith(names[0]) and len(word) > len("-u"):
            return word[len("-u") :]
        if re.fullmatch(f"-[a-zA-Z]+{names[0][1]}", word):
            return "".join(words[index + 1 : index + 2])
    return ""


def _unpacked_copy(view: View) -> Iterator[Found]:
    for stage in view.stages:
        copied: dict[str, Copy] = {}
        views = {id(run.run): run for run in stage.runs}
        for each in stage.stage.instructions:
            if isinstance(each, Copy) and not each.origin:
                copied |= {posixpath.basename(name): each for name in _archives(each)}
            run = views.get(id(each))
            for placed in run.of(*_UNPACKERS) if run is not None else ():
                if not _unpacks(placed.command.words):
                    continue
                names = [posixpath.basename(word) for word in placed.command.words[1:]]
                for name in names:
                    if name in copied:
                        copy = copied.pop(name)
                        yield Found(
                            copy.position,
                            f"COPY of {name}, which line {placed.position.line} unpacks",
                            cost="the archive in one layer, its content in another",
                            rewrite=f"ADD {name} {posixpath.dirname(copy.destination) or '.'}/",
                            bytes=_size(view, [name]) if stage.kept else None,
                            last_line=copy.last_line,
                        )


def _unpacks(words: list[str]) -> bool:
    if words[0].rpartition("/")[2] not in ("tar", "bsdtar"):
        return True
    return any(
        word in ("--extract", "--get")
        or ("x" in word and (word.startswith("-") or index == 1) and not word.startswith("--"))
        for index, word in enumerate(words)
        if index
    )


def _archives(copy: Copy) -> list[str]:
    if _ARCHIVE.search(copy.destination):
        return [copy.destination]
    return [name for name in copy.sources if _ARCHIVE.search(name)]


def _size(view: View, sources: list[str] | tuple[str, ...]) -> int | None:
    if view.context is None:
        return None
    sizes = [view.context.size_of(source) for source in sources]
    return None if None in sizes or not sizes else sum(filter(None, sizes))


def _owner_changed_later(view: View) -> Iterator[Found]:
    for stage in view.kept:
        copies: list[tuple[CopyingInstruction, str]] = []
        views = {id(run.run): run for run in stage.runs}
        directory = ""
        for each in stage.stage.instructions:
            directory = getattr(each, "path", directory) if each.NAME == "WORKDIR" else directory
            if isinstance(each, Copy | Add):
                copies.append((each, posixpath.join(directory, each.destination)))
            run = views.get(id(each))
            for placed in run.of("chown", "chmod", "chgrp") if run is not None else ():
                command = placed.command
                if not command.has("-R", "--recursive"):
                    continue
                changed = [
                    posixpath.join(directory, path) for path in command.arguments[1:][:_MOST_PATHS]
                ]
                for copy, destination in list(copies):
                    if any(_is_below(destination, path) for path in changed):
                        yield _change_found(view, copy, placed, run)
                        copies.remove((copy, destination))


def _change_found(
    view: View, copy: CopyingInstruction, placed: Placed, run: RunView | None
) -> Found:
    program, line = placed.command.program, placed.position.line
    built = None if run is None else view.builds.of(run.run)
    size = None if built is None else built.bytes
    flag = "--chmod" if program == "chmod" else "--chown"
    whole = not (isinstance(copy, Copy) and copy.origin)
    return Found(
        copy.position,
        f"what this copies, {program} -R in line {line} changes",
        cost="every file a second time, in the layer of the RUN",
        rewrite=copy.source.replace(copy.NAME, f"{copy.NAME} {flag}=...", 1),
        bytes=size or (_size(view, copy.sources) if whole else None),
        last_line=copy.last_line,
    )


def _is_below(path: str, directory: str) -> bool:
    path, directory = (posixpath.normpath(each) for each in (path, directory))
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _removed_later(view: View) -> Iterator[Found]:
    for stage in view.kept:
        made = _Made()
        views = {id(run.run): run for run in stage.runs}
        for each in stage.stage.instructions:
            run = views.get(id(each))
            for placed in run.of("rm") if run is not None else ():
                for path in placed.command.arguments[:_MOST_PATHS]:
                    maker = made.take(path)
                    if maker is not None:
                        yield Found(
                            placed.position,
                            f"{path} is from line {maker.position.line}, and stays in that layer",
                            cost="the file is in the image, though no container sees it",
                            rewrite="make, use and remove it in one RUN, or"
                            " RUN --mount=type=bind,source=...,target=...",
                            bytes=_made_size(view, maker, path),
                        )
            for name in _made_by(each, run):
                made.add(name, each)


class _Made:
    """What instructions have made, so that a path tells which one."""

    def __init__(self) -> None:
        self._makers: dict[str, Instruction] = {}  # of a path, or of something below it
        self._whole: dict[str, Instruction] = {}  # of directories whose content nobody lists
        self._told: set[int] = set()

    def add(self, name: str, maker: Instruction) -> None:
        """Note that an instruction has made a file or directory."""
        if isinstance(maker, Copy) and takes_everything(maker):
            self._whole[posixpath.normpath(name)] = maker
        for path in _upwards(name):
            self._makers.setdefault(path, maker)

    def take(self, path: str) -> Instruction | None:
        """Return what made the path or something in it, each instruction once."""
        path = path.rstrip("/*") or path
        if not path.startswith("/") or len(path) > _LONGEST_PATH:
            return None
        found = self._makers.get(posixpath.normpath(path))
        inside = (self._whole.get(above) for above in _upwards(path))
        maker = found or next(filter(None, inside), None)
        if maker is None or id(maker) in self._told:
            return None
        self._told.add(id(maker))
        return maker


def _upwards(path: str) -> Iterator[str]:
    """A path and all directories above it but the root."""
    path = posixpath.normpath(path)[:_LONGEST_PATH]
    while path not in ("/", "//", "", "."):
        yield path
        path = posixpath.dirname(path)


def _made_by(instruction: Instruction, run: RunView | None) -> list[str]:
    """Paths that an instruction certainly makes."""
    if isinstance(instruction, Copy | Add):
        destination = instruction.destination
        if not destination.startswith("/") or destination == "/":
            return []
        if destination.endswith("/"):
            names = [*instruction.sources, *(file.name for file in instruction.files)]
            return [posixpath.join(destination, posixpath.basename(name)) for name in names]
        return [destination]
    found: list[str] = []
    for placed in run.of("curl", "wget") if run is not None else ():
        flags = (
            ("-o", "--output") if placed.command.program == "curl" else ("-O", "--output-document")
        )
        name = _option(placed.command.words, *flags)
        found += [name] if name.startswith("/") else []
        found += [name for name in placed.command.written if name.startswith("/")]
    return found


def _made_size(view: View, maker: Instruction, path: str) -> int | None:
    if not isinstance(maker, Copy) or maker.origin:
        return None
    if takes_everything(maker):
        return _size(view, [posixpath.relpath(path, maker.destination)])
    return _size(view, maker.sources)


def _unused_stage(view: View) -> Iterator[Found]:
    for stage in view.stages:
        if not stage.used:
            yield Found(
                stage.stage.position,
                f"nothing is taken from {stage.name}",
                cost="it is built only if it is the target",
                rewrite="--target, a COPY --from, or no such stage",
            )


def _whole_filesystem(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for copy in stage.all(Copy):
            if copy.origin and "/" in copy.sources and copy.destination == "/":
                yield Found(
                    copy.position,
                    f"COPY of the whole file system of {copy.origin}",
                    cost="nothing is shared with the image that it comes from",
                    rewrite=f"COPY --from={copy.origin} /what/is/needed /what/is/needed",
                )


def _download_kept(view: View) -> Iterator[Found]:
    for stage in view.kept:
        for run in stage.runs:
            names = {
                posixpath.basename(name): placed
                for placed in run.of("curl", "wget")
                for name in _downloads(placed.command.words, placed.command.program)
                if _ARCHIVE.search(name) or name.endswith((".zip", ".deb", ".rpm"))
            }
            removed = [
                word for placed in run.of("rm") for word in placed.command.arguments[:_MOST_PATHS]
            ]
            for name, placed in names.items():
                if not any(name in word or "*" in word for word in removed) and not run.keeps_out(
                    "/tmp"
                ):
                    yield Found(
                        placed.position,
                        f"the downloaded {name} stays in the layer",
                        cost="an archive that nobody needs any more",
                        rewrite=f"... && rm {name}, or curl -fsSL URL | tar -x",
                        last_line=run.run.last_line,
                    )


def _downloads(words: list[str], program: str) -> list[str]:
    flags = ("-o", "--output") if program == "curl" else ("-O", "--output-document")
    named = _option(words, *flags)
    if named:
        return [] if named in ("-", "/dev/stdout") else [named]
    as_is = program == "wget" or any(
        word == "--remote-name" or re.fullmatch("-[a-zA-Z]*O[a-zA-Z]*", word) for word in words
    )
    return [word for word in words if "://" in word] if as_is else []


RULES = (
    Rule("MergeRuns", Severity.INFO, "RUNs that could be one", _merge, ("DL3059",)),
    Rule(
        "RemovedLater",
        Severity.WARNING,
        "a file that one layer brings and another one removes",
        _removed_later,
    ),
    Rule(
        "ChangedLater",
        Severity.WARNING,
        "chown -R or chmod -R of what was copied",
        _owner_changed_later,
    ),
    Rule(
        "DownloadLeftBehind",
        Severity.INFO,
        "an archive that was downloaded and is not removed",
        _download_kept,
    ),
    Rule(
        "UnpackedCopy",
        Severity.INFO,
        "an archive that is copied and then unpacked",
        _unpacked_copy,
        ("DL3010",),
    ),
    Rule(
        "HighUserNumber",
        Severity.WARNING,
        "useradd with a high number and without -l",
        _user_number,
        ("DL3046",),
    ),
    Rule(
        "WholeFileSystem",
        Severity.WARNING,
        "COPY --from of a whole file system",
        _whole_filesystem,
        ("DL3067",),
    ),
    Rule("UnusedStage", Severity.INFO, "a stage that nothing needs", _unused_stage),
)
