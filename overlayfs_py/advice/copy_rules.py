"""COPY and ADD: what they take, and where it goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.dockerfile.ignore import clean
from overlayfs_py.dockerfile.instructions import Add, Copy, CopyingInstruction, Workdir
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import View

_ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zst|lz4)|gz|bz2|xz)$")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|[^/]+\.git(#|$)", re.IGNORECASE)
_FLAGS = ("from", "chown", "chmod", "link", "parents", "exclude", "checksum", "unpack")
_ROOT = ("", ".", "*")
_UNWANTED = {
    ".git": "the whole history of the project",
    "node_modules": "packages of the machine that builds, which npm installs anew",
    ".venv": "packages of the machine that builds",
    "venv": "packages of the machine that builds",
    "__pycache__": "compiled files of another interpreter",
    "target": "build results",
    "dist": "build results",
    ".terraform": "downloaded providers",
    ".idea": "settings of an editor",
    ".vscode": "settings of an editor",
}


def _add_where_copy_does(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for add in stage.all(Add):
            sources = [each.strip("\"'") for each in add.sources]
            plain = not any(_REMOTE.match(each) or _ARCHIVE.search(each) for each in sources)
            if plain and add.unpack is None and not any("$" in each for each in sources):
                yield Found(
                    add.position,
                    "ADD of plain files",
                    cost="nothing, until a source is an archive or a URL and is unpacked unasked",
                    rewrite=re.sub(r"^\w+", "COPY", add.source),
                    last_line=add.last_line,
                )


def _unchecked_url(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for add in stage.all(Add):
            remote = [each for each in add.sources if re.match("https?://", each)]
            if remote and not add.checksum and not any(".git" in each for each in remote):
                yield Found(
                    add.position,
                    "ADD of a URL takes whatever is there on the day of the build",
                    rewrite=add.source.replace(
                        add.keyword, f"{add.keyword} --checksum=sha256:...", 1
                    ),
                    last_line=add.last_line,
                )


def _wide(view: View) -> Iterator[Found]:
    if view.context is None:
        return
    for stage in view.stages:
        if not stage.used:
            continue
        for copy in stage.all(CopyingInstruction):
            if getattr(copy, "origin", "") or not any(_is_root(each) for each in copy.sources):
                continue
            unwanted = {
                name: size for name, size in view.context.entries.items() if name in _UNWANTED
            }
            unwanted = {name: size for name, size in unwanted.items() if not _excluded(copy, name)}
            if unwanted:
                yield _wide_found(view, copy, unwanted, kept=stage.kept)


def _is_root(source: str) -> bool:
    return clean(source).strip("/") in _ROOT


def _excluded(copy: CopyingInstruction, name: str) -> bool:
    return any(pattern.strip("/*") == name for pattern in copy.exclude)


def _wide_found(
    view: View, copy: CopyingInstruction, unwanted: dict[str, int], *, kept: bool
) -> Found:
    parts = ", ".join(
        f"{name} ({human_size(size)}: {_UNWANTED[name]})" for name, size in unwanted.items()
    )
    assert view.context is not None
    ignore = view.context.ignore_file or ".dockerignore"
    return Found(
        copy.position,
        f"this copies {parts}",
        cost="bytes in the image, and a change of any of them throws the cache away",
        rewrite=f"{ignore}: " + ", ".join(unwanted),
        bytes=sum(unwanted.values()) if kept else None,
        last_line=copy.last_line,
    )


def _no_ignore_file(view: View) -> Iterator[Found]:
    if view.context is None or view.context.ignore_file is not None:
        return
    for stage in view.stages:
        for copy in stage.all(CopyingInstruction):
            if not getattr(copy, "origin", "") and any(_is_root(each) for each in copy.sources):
                yield Found(
                    copy.position,
                    "this copies all there is, and no .dockerignore says what is not for the image",
                    cost="whatever lies in the directory on the day of the build",
                    rewrite=".dockerignore: .git, and what the build makes or brings itself",
                    last_line=copy.last_line,
                )
                return


def _ignored_source(view: View) -> Iterator[Found]:
    if view.ignore is None:
        return
    for stage in view.stages:
        for copy in stage.all(CopyingInstruction):
            if getattr(copy, "origin", ""):
                continue
            for source in copy.sources:
                path = clean(source).strip("/")
                if re.search(r"[*?\[$\\]|://", path) or path in _ROOT:
                    continue
                rule = view.ignore.match(path)
                if rule is not None and not rule.negated:
                    yield Found(
                        copy.position,
                        f"{path} is hidden by the rule {rule.text!r} ({rule.position})",
                        cost="the build fails",
                        rewrite=f"!{path} below that rule",
                        last_line=copy.last_line,
                    )


def _several_into_a_file(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for copy in stage.all(CopyingInstruction):
            several = len(copy.sources) + len(copy.files) > 1
            if (
                several
                and not copy.destination.endswith(("/", ".", "}"))
                and "$" not in copy.destination
            ):
                yield Found(
                    copy.position,
                    f"several sources, and {copy.destination} is not written as a directory",
                    cost="the build fails",
                    rewrite=f"{copy.source}/",
                    last_line=copy.last_line,
                )


def _flag_as_source(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for copy in stage.all(CopyingInstruction):
            for source in copy.sources:
                name = source.strip("-").partition("=")[0]
                if source.startswith("-") and name in _FLAGS:
                    flag = f"--{source.strip('-')}"
                    rest = copy.source.replace(source, "", 1).split()[1:]
                    yield Found(
                        copy.position,
                        f"{source} is a source here: flags have two dashes and come first",
                        cost="the build fails",
                        rewrite=" ".join([copy.keyword, flag, *rest]),
                        last_line=copy.last_line,
                    )


def _relative_without_workdir(view: View) -> Iterator[Found]:
    for stage in view.stages:
        workdir = stage.parent is not None and any(stage.parent.all(Workdir))
        for each in stage.stage.instructions:
            workdir = workdir or isinstance(each, Workdir)
            if isinstance(each, Copy | Add) and not workdir:
                destination = each.destination
                if not re.match(r"[/$\"']|[A-Za-z]:", destination):
                    yield Found(
                        each.position,
                        f"{destination} is relative, and no WORKDIR says to what",
                        cost="where it goes is up to the base image",
                        rewrite=f"WORKDIR /app\n{each.source}",
                        last_line=each.last_line,
                    )


RULES = (
    Rule(
        "AddWhereCopyDoes",
        Severity.WARNING,
        "ADD where COPY does the same",
        _add_where_copy_does,
        ("DL3020",),
    ),
    Rule("UncheckedUrl", Severity.INFO, "ADD of a URL without --checksum", _unchecked_url),
    Rule("CopyTooWide", Severity.WARNING, "COPY of what no image needs", _wide),
    Rule(
        "NoIgnoreFile", Severity.INFO, "COPY of all there is without .dockerignore", _no_ignore_file
    ),
    Rule(
        "CopyIgnoredFile",
        Severity.WARNING,
        "COPY of what .dockerignore hides",
        _ignored_source,
    ),
    Rule("FlagAsSource", Severity.ERROR, "a flag where a source stands", _flag_as_source),
    Rule(
        "SeveralIntoOne",
        Severity.ERROR,
        "COPY of several sources to what is not written as a directory",
        _several_into_a_file,
        ("DL3021",),
    ),
    Rule(
        "CopyWithoutWorkdir",
        Severity.WARNING,
        "COPY to a relative path without WORKDIR",
        _relative_without_workdir,
        ("DL3045",),
    ),
)
