"""Why a source is not found: which rule hides it, or what is there in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.builds.context import shown
from overlayfs_py.builds.context_view import text_of

if TYPE_CHECKING:
    from overlayfs_py.builds.context import Item, Path
    from overlayfs_py.builds.context_view import ContextView

_MOST_NAMED = 3


def why_missing(view: ContextView, path: Path) -> str:
    """Return the reason, for a path that the view does not have."""
    here = view.context.root
    for at, name in enumerate(path):
        found = view.context.look(here, name) if here.is_directory else None
        if found is None:
            return _why_absent(view, here, path, at)
        if view.is_hidden(found) and not (found.is_directory and view.may_have(found)):
            return _why_hidden(view, found)
        if found.is_symlink:
            target = text_of((view.context.read_link(found),))
            return f"not found: {shown(found.path)} is a link to {target}, which is not there"
        here = found
    return "not found"


def _why_hidden(view: ContextView, item: Item) -> str:
    told = view.told_of(item)
    rule = None if told is None else told.rule
    assert rule is not None  # what is hidden is hidden by one
    place = f"{rule.position.file}:{rule.position.line}"
    return f"not in the context: {place} hides it: {rule.text}"


def _why_absent(view: ContextView, directory: Item, path: Path, at: int) -> str:
    place = view.context.name
    if not directory.is_directory:
        return f"not found in {place}: {shown(directory.path)} is no directory"
    names = [text_of(child.path[-1:]) for child in view.children(directory)]
    where = f"{place}, where {shown(path[:at])}" if at else place
    if not names:
        return f"not found in {where} is empty" if at else f"not found: {place} is empty"
    near = _near(text_of(path[at : at + 1]), names)
    ways = [text_of((*path[:at], name.encode("utf-8", "surrogateescape"))) for name in near]
    hint = f" (did you mean {' or '.join(ways)}?)" if ways else ""
    missing = f": {shown(path[:at])} has no {text_of(path[at : at + 1])}" if at else ""
    return f"not found in {place}{missing}{hint}"


def _near(name: str, names: list[str]) -> list[str]:
    import difflib  # only errors need it

    same = [each for each in names if each.casefold() == name.casefold()]
    return same or difflib.get_close_matches(name, names, n=_MOST_NAMED, cutoff=0.6)
