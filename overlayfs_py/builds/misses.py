"""Why a step is not in the cache: what differs from the build that is nearest to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.keys import FILES, INSTRUCTION, PARENT
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.terminal_text import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from overlayfs_py.builds.keys import CacheKey
    from overlayfs_py.store.build_records import StepRecord

# What makes an earlier step the same step, rather than another one of the same kind.
_WEIGHTS = {INSTRUCTION: 8, "command": 8, "directory": 4, "destination": 4, FILES: 4, PARENT: 4}
_OF_PLACE = 8
_LEAST = 8
_WIDEST = 60
_COMMON = 12  # characters that are shown of what two texts have in common


class Difference(Struct, frozen=True):
    """One part of a key that differs."""

    part: str
    text: str  # for people: `ENV B is 2, was 1`


class Miss(Struct, frozen=True):
    """What a step was compared with, and what differs; nothing where there was nothing like it."""

    nearest: str = ""  # the earlier one's key
    made_ns: int = 0
    differences: tuple[Difference, ...] = ()
    source: str = ""  # the cache elsewhere that it is of


class Earlier(NamedTuple):
    """A step that was made before."""

    record: StepRecord
    table: Callable[[], bytes]  # what was known of the files that it took
    source: str = ""  # the cache elsewhere that knows it


def explain(
    earlier: Iterable[Earlier],
    key: CacheKey,
    place: str,
    table: Callable[[], bytes],
    compare: Callable[[bytes, bytes], str | None],
) -> Miss:
    """Return why `key` is not in the cache.

    Args:
        earlier: what to compare it with, the one to be preferred first.
        key: what was looked for.
        place: which step of which stage it is.
        table: gives what is known of the files that the step takes, if it takes any.
        compare: says how two such tables differ.
    """
    nearest = _nearest(earlier, key, place)
    if nearest is None:
        return Miss()
    found = []
    for name, old, new in _changed(dict(nearest.record.parts), dict(key.parts)):
        text = None
        if name == FILES:
            text = compare(nearest.table(), table())
        found.append(Difference(name, text or _words(name, old, new)))
    record = nearest.record
    return Miss(record.key, record.created_ns, tuple(found), nearest.source)


def _nearest(known: Iterable[Earlier], key: CacheKey, place: str) -> Earlier | None:
    """The one that has most in common; of equals the first."""
    wanted = dict(key.parts)
    best, best_score = None, _LEAST - 1
    for each in known:
        record = each.record
        if dict(record.parts).get("kind") != wanted.get("kind"):
            continue
        score = _OF_PLACE if record.place == place else 0
        score += sum(
            _WEIGHTS.get(name, 1) for name, value in record.parts if wanted.get(name) == value
        )
        if score > best_score:
            best, best_score = each, score
    return best


def _changed(old: dict[str, str], new: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """The parts that differ, what a step stands on last: the others say more."""
    names = [name for name in dict.fromkeys((*new, *old)) if name != PARENT]
    for name in (*names, PARENT):
        if old.get(name, "") != new.get(name, ""):
            yield name, old.get(name, ""), new.get(name, "")


def _words(name: str, old: str, new: str) -> str:
    if name == PARENT:
        return "it stands on other files"
    if name == FILES:
        return "other files"
    pairs = _pairs(old), _pairs(new)
    if pairs[0] is not None and pairs[1] is not None:
        return _of_pairs(name, pairs[0], pairs[1])
    return _was(name, _text(old), _text(new))


def _was(name: str, old: str, new: str) -> str:
    """What a part is and was, from a little before where the two differ."""
    same = _same(old, new)
    start = max(0, same - _COMMON) if len(old) > _WIDEST or len(new) > _WIDEST else 0
    lead = "..." if start else ""
    is_now = f"is {lead}{_short(new[start:])}" if new else "is none"
    return f"{name} {is_now}, was {f'{lead}{_short(old[start:])}' if old else 'none'}"


def _same(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _of_pairs(name: str, old: dict[str, str], new: dict[str, str]) -> str:
    for key in dict.fromkeys((*new, *old)):
        before, after = old.get(key), new.get(key)
        if before != after:
            if after is None:
                return f"{name} {key} is gone"
            return (
                f"{name} {key} is new" if before is None else _was(f"{name} {key}", before, after)
            )
    return f"{name} in another order"


def _pairs(value: str) -> dict[str, str] | None:
    """A part that is a mapping, as `pairs_part` has written it."""
    if not value:
        return {}
    if not value.startswith("{"):
        return None
    found: dict[str, str] = json.loads(value)
    return found


def pairs_part(pairs: dict[str, str]) -> str:
    """A part of a key that is a mapping; in its own order."""
    return json.dumps(pairs, ensure_ascii=False) if pairs else ""


def _text(value: str) -> str:
    """A part that is a list of words, as people write it."""
    if not value.startswith('["'):
        return value
    words: list[str] = json.loads(value)
    return " ".join(words)


def _short(text: str) -> str:
    return shortened(text, _WIDEST) or "empty"
