"""Bytes for nothing: what a later layer hides, what package managers leave, what is there twice."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.advice.findings import Severity
from overlayfs_py.advice.image_findings import Advice, command_of, instruction, largest_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.advice.image_facts import FileFact, ImageFacts
    from overlayfs_py.advice.image_stack import Hidden, ImageStack

# Smaller ones are not worth a layer's while: guess.
_LEAST_TWICE_BYTES = 4096
_DELETED, _REPLACED, _COPIED = "DeletedLater", "ReplacedLater", "CopiedForAttributes"


class _Cache(NamedTuple):
    """What a program keeps for the next time, which never comes in an image."""

    what: str
    paths: re.Pattern[bytes]
    cleaning: str  # a command that removes it; empty where a mount is all there is
    mount: str = ""  # where a cache mount does the same, and keeps it for the next build
    severity: Severity = Severity.WARNING


def _paths(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:%s)" % pattern)


_HOME = rb"(?:root|home/[^/]+)"
_CACHES = (
    _Cache(
        "package lists of apt",
        _paths(rb"var/lib/apt/lists/(?!lock$|partial$)."),
        "rm -rf /var/lib/apt/lists/*",
        "/var/lib/apt/lists",
    ),
    _Cache(
        "packages that apt has downloaded",
        _paths(rb"var/cache/apt/."),
        "apt-get clean",
        "/var/cache/apt",
    ),
    _Cache(
        "packages of dnf or yum",
        _paths(rb"var/cache/(?:dnf|yum|libdnf5|tdnf)/."),
        "dnf clean all",
        "/var/cache/dnf",
    ),
    _Cache(
        "packages of zypper", _paths(rb"var/cache/zypp/."), "zypper clean --all", "/var/cache/zypp"
    ),
    _Cache(
        "packages of apk",
        _paths(rb"(?:var/cache|etc/apk/cache)/(?:apk/)?.*APKINDEX|var/cache/apk/."),
        "rm -rf /var/cache/apk/*",
        "/var/cache/apk",
    ),
    _Cache(
        "packages of pacman",
        _paths(rb"var/cache/pacman/pkg/."),
        "rm -rf /var/cache/pacman/pkg/*",
        "/var/cache/pacman/pkg",
    ),
    _Cache(
        "the cache of pip",
        _paths(_HOME + rb"/\.cache/pip/."),
        "pip cache purge",
        "/root/.cache/pip",
    ),
    _Cache(
        "the cache of uv", _paths(_HOME + rb"/\.cache/uv/."), "uv cache clean", "/root/.cache/uv"
    ),
    _Cache(
        "the cache of npm",
        _paths(_HOME + rb"/\.npm/_cacache/."),
        "npm cache clean --force",
        "/root/.npm",
    ),
    _Cache(
        "the cache of yarn",
        _paths(rb"usr/local/share/\.cache/yarn/.|" + _HOME + rb"/\.cache/yarn/."),
        "yarn cache clean",
        "/usr/local/share/.cache/yarn",
    ),
    _Cache(
        "the cache of go",
        _paths(_HOME + rb"/\.cache/go-build/.|go/pkg/mod/cache/."),
        "go clean -cache -modcache",
        "/root/.cache/go-build",
    ),
    _Cache(
        "what cargo has downloaded",
        _paths(rb"(?:usr/local/cargo|" + _HOME + rb"/\.cargo)/registry/(?:cache|src)/."),
        "",
        "/usr/local/cargo/registry",
    ),
    _Cache(
        "what Maven has downloaded",
        _paths(_HOME + rb"/\.m2/repository/."),
        "",
        "/root/.m2/repository",
    ),
    _Cache(
        "the cache of composer",
        _paths(_HOME + rb"/\.(?:cache/)?composer/cache/."),
        "composer clear-cache",
        "/root/.composer/cache",
    ),
    _Cache("temporary files", _paths(rb"(?:var/)?tmp/."), "rm -rf /tmp/* /var/tmp/*", "/tmp"),
    _Cache(
        "compiled Python",
        _paths(rb"(?:.*/)?__pycache__/[^/]*\.pyc$"),
        "find / -name __pycache__ -prune -exec rm -rf {} +",
        severity=Severity.INFO,
    ),
)


def hidden(facts: ImageFacts, stack: ImageStack) -> Iterator[Advice]:
    """What one layer writes and a later one deletes, replaces, or copies for its attributes."""
    groups: dict[tuple[str, int, int], list[Hidden]] = defaultdict(list)
    for each in stack.hidden:
        if each.size:
            groups[_kind(facts, each), each.fact.at, each.by].append(each)
    for (kind, at, by), group in groups.items():
        paths = largest_first(each.fact for each in group)
        if kind == _DELETED:
            tops = dict.fromkeys(sorted((each.top for each in group), key=len))
            message = f"{_files(len(group))} of layer {at} deleted in layer {by}"
            rewrite = _in_one(facts, at, by, tops)
        elif kind == _REPLACED:
            message = f"{_files(len(group))} of layer {at} written again in layer {by}"
            rewrite = _in_one(facts, at, by, paths)
        else:
            message = f"{_files(len(group))} of layer {at} copied in layer {by} for mode or owner"
            rewrite = _with_attributes(facts, at, by, group)
        saves = {each.fact.key: each.size for each in group}
        yield Advice(kind, Severity.WARNING, message, at, paths, rewrite, saves)


def _kind(facts: ImageFacts, each: Hidden) -> str:
    new, old = each.replaced, each.fact
    if new is None or new.path != old.path:
        return _DELETED
    alike = new.is_regular and new.size == old.size
    return _COPIED if alike and facts.digest(new) == facts.digest(old) else _REPLACED


def _in_one(facts: ImageFacts, at: int, by: int, paths: Sequence[bytes] | dict[bytes, None]) -> str:
    early, late = (instruction(facts.layers[which].created_by) for which in (at, by))
    one, other = command_of(early), command_of(late)
    if one and other:
        return f"RUN {one} && {other}"
    name = _shown(next(iter(paths)))
    if early.startswith(("COPY", "ADD")):
        without = f"leave /{name} out of the {early.split()[0]} (.dockerignore, --exclude)"
        return f"{without}, or bind it: RUN --mount=type=bind"
    return f"write /{name} once, in the step that has it in the end"


def _with_attributes(facts: ImageFacts, at: int, by: int, group: Sequence[Hidden]) -> str:
    early = instruction(facts.layers[at].created_by)
    word, _, rest = early.partition(" ")
    new, old = group[0].replaced, group[0].fact
    assert new is not None
    if word not in ("COPY", "ADD"):
        return _in_one(facts, at, by, [old.path])
    options = []
    if (new.uid, new.gid) != (old.uid, old.gid):
        options.append(f"--chown={new.uid}:{new.gid}")
    if new.mode != old.mode:
        options.append(f"--chmod={stat.S_IMODE(new.mode):04o}")
    return " ".join([word, *options, rest])


def caches(facts: ImageFacts, stack: ImageStack) -> Iterator[Advice]:
    """What package managers and others leave, and shows in the end."""
    found: dict[tuple[int, int], list[FileFact]] = defaultdict(list)
    for fact in stack.visible():
        if fact.is_regular and fact.size:
            kind = next(
                (at for at, cache in enumerate(_CACHES) if cache.paths.match(fact.path)), None
            )
            if kind is not None:
                found[kind, fact.at].append(fact)
    for (kind, at), files in sorted(found.items()):
        cache = _CACHES[kind]
        yield Advice(
            "CacheLeftBehind",
            cache.severity,
            f"{cache.what}: {_files(len(files))} in layer {at}",
            at,
            largest_first(files),
            _cleaned(instruction(facts.layers[at].created_by), cache),
            {fact.key: fact.size for fact in files},
        )


def _cleaned(text: str, cache: _Cache) -> str:
    command = command_of(text)
    if command is None:
        return f"leave it out, or {cache.cleaning}" if cache.cleaning else "leave it out"
    if cache.cleaning:
        return f"RUN {command} && {cache.cleaning}"
    return f"RUN --mount=type=cache,target={cache.mount} {command}"


def twice(facts: ImageFacts, stack: ImageStack) -> Iterator[Advice]:
    """The same content in several layers, under whatever names."""
    by_size: dict[int, list[FileFact]] = defaultdict(list)
    for fact in stack.visible():
        if fact.is_regular and fact.size >= _LEAST_TWICE_BYTES:
            by_size[fact.size].append(fact)
    groups: dict[tuple[int, int], dict[FileFact, FileFact]] = defaultdict(dict)
    for alike in by_size.values():
        if len({fact.at for fact in alike}) == 1:
            continue  # nothing of it need be read
        first: dict[bytes, FileFact] = {}
        for fact in sorted(alike):
            original = first.setdefault(facts.digest(fact), fact)
            if original.at != fact.at:
                groups[original.at, fact.at][fact] = original
    for (low, high), copies in sorted(groups.items()):
        largest = max(copies, key=lambda fact: fact.size)
        yield Advice(
            "SameContent",
            Severity.INFO,
            f"{_files(len(copies))} of layer {high} with the content of files of layer {low}",
            high,
            largest_first(copies),
            f"ln -s /{_shown(copies[largest].path)} /{_shown(largest.path)}, or COPY it once",
            {fact.key: fact.size for fact in copies},
        )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
