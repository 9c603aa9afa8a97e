"""The differences that we choose: a predicate for each entry of docs/DIVERGENCES.md.

Nothing else is filtered. A predicate has the name of its entry.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from tests.oracle.layers import ACCESS, DEFAULT
from tests.oracle.operations import LINK_COUNT, SUMMARY_FIELDS
from tests.support.uppers import USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.oracle.upper_meaning import UpperMeaning
    from tests.support.snapshot import Difference, Entry, Snapshot

    Predicate = Callable[["Case"], bool]

RESULT = "result"
VIEW = "view"
UPPER = "upper"
OURS_ELSEWHERE = "our upper under the kernel"
KERNELS_HERE = "the kernel's upper under ours"

_DIVERGENCES: list[Predicate] = []


class Uppers(NamedTuple):
    """What was on disk when both sides, which showed the same, were unmounted."""

    kernels: UpperMeaning
    ours: UpperMeaning


class Case(NamedTuple):
    """A difference and where it was found. `left` is the kernel's, or the writer's own view."""

    found: Difference
    where: str
    layer_links: set[int]  # how many names the files of the layers have, where more than one
    view: Snapshot | None = None  # what `left` is from, unless it is a result
    uppers: Uppers | None = None  # once the mounts are gone
    call: tuple[object, ...] = ()  # of a result: the operation and its arguments
    changed_in_vain: bool = False  # a step before this asked for a change and got none
    opened_metacopy: bool = False  # a step before this may have opened one for writing


def excused(case: Case) -> bool:
    return any(predicate(case) for predicate in _DIVERGENCES)


def names() -> list[str]:
    """The chosen differences, in the order of the document."""
    return [predicate.__name__ for predicate in _DIVERGENCES]


def _divergence(predicate: Predicate) -> Predicate:
    _DIVERGENCES.append(predicate)
    return predicate


@_divergence
def both_namespaces_are_reserved(case: Case) -> bool:
    if case.found.field != "xattrs":
        return False
    left, right = dict(case.found.left), dict(case.found.right)
    match case.where:
        case "upper" | "our upper under the kernel":
            return left == _unescaped(right)
        case "the kernel's upper under ours":
            return right == {k: v for k, v in left.items() if not k.startswith(USER)}
        case _:
            return False


def _unescaped(xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    escaped = USER + b"overlay."
    return {k.replace(escaped, USER) if k.startswith(escaped) else k: v for k, v in xattrs.items()}


@_divergence
def a_chown_to_nobody_is_not_refused(case: Case) -> bool:
    if case.call[:1] != ("lchown",) or case.call[2:] != (-1, -1):
        return False
    return (case.found.left, case.found.right) == ("EPERM", None)


@_divergence
def an_absent_acl_is_removed_where_copied_up(case: Case) -> bool:
    match case.call:
        case ("removexattr", _, name) | ("setxattr" | "fd_setxattr", _, name, b"", *_):
            results = {case.found.left, case.found.right}
            return name in (ACCESS, DEFAULT) and results == {None, "ENODATA"}
        case _:
            return False


@_divergence
def removed_lower_objects_still_change(case: Case) -> bool:
    """Through a descriptor that is held: the kernel cannot copy up what has no name any more."""
    if case.where != RESULT or not str(case.call[0]).startswith("fd_"):
        return False
    left, right = case.found.left, case.found.right
    if case.call[0] == "fd_stat":
        count = right[LINK_COUNT] if isinstance(right, tuple) else None
        return count == 0 and _without_link_count(left) == _without_link_count(right)
    return left in {"EIO", "EEXIST", "ESTALE", "ENOENT"} and not isinstance(right, str)


@_divergence
def copy_up_waits_for_a_change(case: Case) -> bool:
    """The views are equal by now: what only the kernel's upper holds, we show from below."""
    return case.where == UPPER and case.found.right is None and _entry(case.found.left) is not None


@_divergence
def a_change_in_vain_may_copy_up(case: Case) -> bool:
    """The views are equal by now: what only our upper holds, the kernel shows from below."""
    if case.where != UPPER or not case.changed_in_vain:
        return False
    return case.found.left is None and _entry(case.found.right) is not None


def is_change_in_vain(call: tuple[object, ...], result: object) -> bool:
    match call:
        case ("removexattr", *_):
            return result == "ENODATA"
        case ("setxattr", *_):
            return result in {"ENODATA", "EEXIST"}
        case ("lchown", _, owner, group):
            return (owner, group) == (-1, -1)
        case _:
            return False


@_divergence
def opening_a_metacopy_leaves_its_time(case: Case) -> bool:
    """The kernel's copy of the data, at an open for writing, is a write to the file."""
    if not case.opened_metacopy:
        return False
    left, right = case.found.left, case.found.right
    if case.where == VIEW:
        return case.found.field == "mtime_ns" and left == "now"
    if not isinstance(left, tuple) or not isinstance(right, tuple) or len(left) != SUMMARY_FIELDS:
        return False
    return left[:-1] == right[:-1] and left[-1] == "now"


def opens_to_write(call: tuple[object, ...], result: object) -> bool:
    match call:
        case ("write" | "append", *_):
            return result is None or isinstance(result, int | tuple)
        case ("open", _, flags, *_) | ("hold", _, _, flags, *_):
            return isinstance(result, tuple) and flags & os.O_ACCMODE != os.O_RDONLY
        case _:
            return False


@_divergence
def a_copy_is_linked_to_a_name_that_is_known(case: Case) -> bool:
    """Which names of a layer's file are in the upper, besides the directories that they need."""
    if case.where != UPPER or case.uppers is None:
        return False
    found, uppers = case.found, case.uppers
    if found.field:
        names = {found.path, *found.left, *found.right} if found.field == "links" else set()
        return any(map(uppers.ours.has_lower_links, names))
    return any(
        _is_needed_by_links(found.path, _entry(extra), meaning)
        for extra, meaning in ((found.left, uppers.kernels), (found.right, uppers.ours))
    )


def _is_needed_by_links(path: bytes, extra: Entry | None, upper: UpperMeaning) -> bool:
    if extra is None:
        return False
    if extra.kind != "directory":
        return upper.has_lower_links(path)
    return any(
        below.startswith(path + b"/") and upper.has_lower_links(below) for below in upper.meanings
    )


@_divergence
def the_index_is_of_one_copy_of_the_layers(case: Case) -> bool:
    """The kernel has layers in its own form, and their files other handles than those of ours."""
    if case.where != OURS_ELSEWHERE or not case.uppers or not case.view or not case.found.field:
        return False
    ours, entry = case.uppers.ours, case.view[case.found.path]
    return any(ours.has_lower_links(name) or name in ours.linked_elsewhere for name in entry.links)


@_divergence
def the_layer_counts_the_links_of_its_files(case: Case) -> bool:
    """st_nlink alone, and only where a layer has hard links; `links` is compared as ever."""
    left, right = case.found.left, case.found.right
    if case.where == RESULT:
        return bool(case.layer_links) and _without_link_count(left) == _without_link_count(right)
    if case.found.field != "nlink" or case.view is None:
        return False
    shown = len(case.view[case.found.path].links)
    # Names that are gone count as long as only another mount has removed them.
    return bool(case.layer_links) and shown <= right <= max(case.layer_links | {shown})


def _without_link_count(result: object) -> object:
    """A result without st_nlink, if it is what `operations.summary` makes of a file."""
    if not isinstance(result, tuple) or len(result) != SUMMARY_FIELDS:
        return result
    return (*result[:LINK_COUNT], *result[LINK_COUNT + 1 :])


def _entry(found: object) -> Entry | None:
    return None if found is None else found.entry
