"""Which files of a context the sources of a COPY or ADD name.

Sources: moby/buildkit, frontend/dockerfile/dockerfile2llb/convert_copy.go; tonistiigi/fsutil, copy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py import link_walk
from overlayfs_py.builds.context import shown
from overlayfs_py.builds.context_view import ContextView, text_of
from overlayfs_py.builds.failures import SourceNotFound
from overlayfs_py.builds.globs import BadPattern, has_wildcards, matches
from overlayfs_py.builds.missing_sources import why_missing
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.builds.context import Context, Item, Path
    from overlayfs_py.dockerfile.ignore import Ignored, IgnoreRules

_ANY_DIRECTORIES = "**"
_PIVOT = "/./"


class Entry(NamedTuple):
    """One object that is to be copied."""

    below: Path  # where it is, seen from its source; (): it is the source
    item: Item
    is_implied: bool = False  # a directory that is copied only for what is in it


class Selected(NamedTuple):
    """One source, wildcards resolved."""

    context: Context
    name: bytes  # what it is called in a directory that it is copied to
    entries: tuple[Entry, ...]  # itself first, each directory before what is in it, by name
    unpacks: bool = False  # an archive is unpacked, as ADD does

    @property
    def source(self) -> Item:
        """Return the source itself."""
        return self.entries[0].item


def select(
    context: Context,
    sources: Sequence[str],
    *,
    ignore: IgnoreRules | None = None,
    exclude: IgnoreRules | None = None,
    parents: bool = False,
    unpacks: bool = False,
) -> tuple[Selected, ...]:
    """Return what the sources name, in their order; a pattern may name nothing.

    Args:
        context: where they are looked for.
        sources: paths or patterns; all are below the context's root, whatever `..` they have.
        ignore: the rules of a .dockerignore: what they hide is not there.
        exclude: rules of `--exclude`, on paths below each source.
        parents: keep the directories on the way to a source, or from `/./` in it on.
        unpacks: archives are to be unpacked.

    Raises:
        SourceNotFound: a source names nothing; it says what is near, or which rule hides it.
        ChangedMeanwhile, BadContext: the context cannot be read.
    """
    view = ContextView(context, ignore)
    found: list[Selected] = []
    for source in sources:
        try:
            if parents:
                found += _with_parents(view, source, exclude)
            else:
                found += _sources(view, source, exclude)
        except BadPattern:
            raise SourceNotFound(source, "this cannot be a pattern") from None
    return tuple(each._replace(unpacks=unpacks) for each in found)


def select_all(context: Context, *, unpacks: bool = False) -> tuple[Selected, ...]:
    """Return all that lies in a context's root, each as a source of its own."""
    view = ContextView(context, None)
    return tuple(
        Selected(context, item.path[-1], tuple(_Walk(view, None).run(item)), unpacks)
        for item in context.children(context.root)
    )


def _sources(view: ContextView, source: str, exclude: IgnoreRules | None) -> Iterator[Selected]:
    for path in _resolved(view, source):
        item = _follow(view, path, source)
        name = path[-1] if path else b""
        yield Selected(view.context, name, tuple(_Walk(view, exclude).run(item)))


def _with_parents(
    view: ContextView, source: str, exclude: IgnoreRules | None
) -> Iterator[Selected]:
    base, pivot, text = source.partition(_PIVOT)
    if not pivot:
        base, text = "/", source
    pattern = _components(text)
    if not pattern:
        raise SourceNotFound(source, "--parents is for what is below a directory: try *")
    if not has_wildcards(base) and not any(map(has_wildcards, pattern)):
        start = _follow(view, _names(_components(base)), source)
        _require_parents(view, start, _names(pattern), source)
    for path in _resolved(view, base):
        item = _follow(view, path, source)
        if not item.is_directory:
            if has_wildcards(base):
                continue
            raise SourceNotFound(source, f"not found: {shown(item.path)} is no directory")
        entries = tuple(_Walk(view, exclude, pattern).run(item))
        name = path[-1] if path else b""
        yield Selected(view.context, name, entries)


def _components(text: str) -> list[str]:
    """A path's components below the root: `..` stays in it."""
    found: list[str] = []
    for component in text.split("/"):
        if component == "..":
            del found[-1:]
        elif component not in {"", "."}:
            found.append(component)
    return found


def _names(components: Sequence[str]) -> Path:
    """The names that components without wildcards are: a backslash in them is one of a name."""
    return tuple(map(os.fsencode, components))


def _resolved(view: ContextView, source: str) -> list[Path]:
    """Return the paths that a source names, links not followed."""
    components = _components(source)
    fixed = next((at for at, each in enumerate(components) if has_wildcards(each)), None)
    if fixed is None:
        return [_names(components)]
    start = _follow(view, _names(components[:fixed]), source)
    if not start.is_directory:
        raise SourceNotFound(source, f"not found: {shown(start.path)} is no directory")
    return list(_matching(view, start, components[fixed:]))


def _matching(view: ContextView, directory: Item, pattern: Sequence[str]) -> Iterator[Path]:
    """What is below a directory and matches: Go's pattern, in which `**` is nothing special."""
    for child in view.children(directory):
        if not matches(pattern[0], text_of(child.path[-1:])):
            continue
        if len(pattern) > 1:
            yield from _matching(view, child, pattern[1:]) if child.is_directory else ()
        elif view.is_there(child):
            yield child.path


def _rests(pattern: Sequence[str], name: str) -> Iterator[Sequence[str]]:
    """What of a pattern of `--parents` is left below a name, in each way that it matches."""
    if not pattern:
        return
    if pattern[0] == _ANY_DIRECTORIES:
        if len(pattern) == 1:
            yield ()
            return
        yield pattern
        yield from _rests(pattern[1:], name)
    elif matches(pattern[0], name):
        yield pattern[1:]


def _way(view: ContextView, path: Path) -> list[Item]:
    return link_walk.follow(
        view.context.root,
        path,
        view.require,
        lambda item: view.context.read_link(item) if item.is_symlink else None,
        follow_last=True,
    )


def _require_parents(view: ContextView, start: Item, path: Path, source: str) -> None:
    """Refuse a path without wildcards that is not there, or has a link on its way.

    What is behind a link has its parents elsewhere.
    """
    here = start
    for name in path:
        if here.is_symlink:
            raise SourceNotFound(
                source, f"{shown(here.path)} is a link, and --parents follows none"
            )
        try:
            here = view.require(here, name)
        except FileNotFoundError:
            missing = (*start.path, *path)
            raise SourceNotFound(source, why_missing(view, missing)) from None


def _follow(view: ContextView, path: Path, source: str) -> Item:
    """Return what is at a path of the context; a link leads nowhere out of it."""
    try:
        item = _way(view, path)[-1]
    except FileNotFoundError:
        raise SourceNotFound(source, why_missing(view, path)) from None
    except OSError as error:
        if isinstance(error, SourceNotFound) or error.errno is None:
            raise
        raise SourceNotFound(source, error.strerror or "") from None
    if not view.is_there(item):
        raise SourceNotFound(source, why_missing(view, item.path))
    return item


class _Walk:
    """One source, and what is in it."""

    def __init__(
        self, view: ContextView, exclude: IgnoreRules | None, include: Sequence[str] | None = None
    ) -> None:
        self._view = view
        self._exclude = None if exclude is None else exclude.root
        self._include = include
        self._pending: list[Entry] = []  # directories that nothing of has been copied yet

    def run(self, source: Item) -> Iterator[Entry]:
        yield Entry((), source)
        if source.is_directory:
            rests = None if self._include is None else (self._include,)
            yield from self._below(source, (), rests, self._exclude)

    def _below(
        self,
        directory: Item,
        below: Path,
        rests: Sequence[Sequence[str]] | None,
        told: Ignored | None,
    ) -> Iterator[Entry]:
        """What is in a directory.

        Args:
            directory: which one.
            below: where it is, seen from the source.
            rests: what of the pattern is left for what is in it; None: all is wanted.
            told: what `--exclude` says of it.
        """
        for child in self._view.children(directory):
            name = child.path[-1]
            entry = Entry((*below, name), child)
            left = rests
            if rests is not None:
                left = [more for rest in rests for more in _rests(rest, text_of((name,)))]
                if any(not rest for rest in left):
                    left = None
            if left is not None and not (child.is_directory and left):
                continue
            here = None if told is None else told.below(text_of(entry.below))
            is_out = here is not None and here.excluded
            if left is None and not is_out and not self._view.is_hidden(child):
                yield from self._pending
                self._pending.clear()
                yield entry
                if child.is_directory:
                    yield from self._below(child, entry.below, None, here)
            elif child.is_directory and self._may_have(entry, here):
                self._pending.append(entry._replace(is_implied=True))
                yield from self._below(child, entry.below, left, here)
                del self._pending[-1:]

    def _may_have(self, entry: Entry, told: Ignored | None) -> bool:
        """Whether something below a directory may be wanted, though it is not itself."""
        if told is not None and told.excluded and not told.may_show(text_of(entry.below)):
            return False
        return self._view.may_have(entry.item)
