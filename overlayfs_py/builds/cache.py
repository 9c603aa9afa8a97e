"""Looking a step up, and remembering what it made."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.misses import Earlier, Miss, explain
from overlayfs_py.image.digest import Digest, hex_of
from overlayfs_py.image.times import rfc3339
from overlayfs_py.store.build_records import StepRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.builds.imported import Imported
    from overlayfs_py.builds.keys import CacheKey
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.builds import Builds
    from overlayfs_py.store.stored_layer import StoredLayer

_NO_CACHE = "--no-cache"
_NOTHING_LIKE_IT = "nothing like it was built before"
_SECOND_NS = 1_000_000_000
_MOST_LOOKED_AT = 500  # records, the latest: 20 ms
_LAYER_GONE = "its layer has gone from the store"


class Step(Struct, frozen=True):
    """A step that has a key."""

    instruction: str  # as the Dockerfile has it, on one line
    place: str  # `build 3`
    key: CacheKey
    table: Callable[[], bytes] = bytes  # what is known of the files that it takes
    table_digest: str = ""


class Found(Struct, frozen=True):
    """What a cache has for a step."""

    diff_id: Digest
    tar_size: int
    created_ns: int
    source: str = ""  # the cache elsewhere that has it: its layer need not be in the store


class NotFound(Struct, frozen=True):
    """Why the cache has nothing for a step."""

    why: str
    miss: Miss


class StepCache:
    """The store's records, and those of other caches, as one stage uses them."""

    def __init__(
        self,
        builds: Builds,
        addition: Addition,
        compare: Callable[[bytes, bytes], str | None],
        imported: Imported,
        *,
        is_off: bool,
    ) -> None:
        """`compare` says how two tables of files differ; with `is_off` nothing is ever found."""
        self._builds = builds
        self._addition = addition
        self._compare = compare
        self._imported = imported
        self._is_off = is_off
        self._missed = ""  # the step before, if it was not found

    def look(self, step: Step, shown: str) -> Found | NotFound:
        """Look for what a step makes; `shown` is what later reasons call it."""
        found = None if self._is_off else self._find(step)
        if isinstance(found, Found):
            self._missed = ""
            return found
        missed, self._missed = self._missed, shown
        if self._is_off:
            return NotFound(_NO_CACHE, Miss())
        if found is not None:
            return found
        miss = explain(self._earlier(), step.key, step.place, step.table, self._compare)
        return NotFound(self._words(miss, missed), miss)

    @contextmanager
    def making(self, step: Step) -> Iterator[Found | None]:
        """Let no other stage of this build make the same step meanwhile.

        Yields what one has made while this one waited for it. Who makes a step waits for no other
        stage, so there is always one that goes on.
        """
        if self._is_off:
            yield None
            return
        path = self._addition.directory / f"making-{hex_of(step.key.digest)}"
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                found = self._find(step)
                if isinstance(found, Found):
                    self._missed = ""
                    yield found
                else:
                    yield None
            finally:
                # By word: a command may have left a process with a copy of the descriptor.
                fcntl.flock(file, fcntl.LOCK_UN)

    def put(self, step: Step, layer: StoredLayer, created_ns: int, seconds: float) -> None:
        """Remember what a step has made."""
        self._builds.put(
            StepRecord(
                key=step.key.digest,
                instruction=step.instruction,
                place=step.place,
                parts=step.key.parts,
                table=step.table_digest,
                layer=layer.diff_id,
                created_ns=created_ns,
                seconds=round(seconds, 3),
            ),
            step.table() if step.table_digest else b"",
        )

    def _find(self, step: Step) -> Found | NotFound | None:
        record = self._builds.find(step.key.digest)
        if record is not None:
            layer = self._addition.find_layer(Digest(record.layer))
            if layer is not None:
                return Found(layer.diff_id, layer.record.tar_size, record.created_ns)
        imported = self._imported.find(step.key.digest)
        if imported is not None:
            form = imported.form
            diff_id = Digest(form.layer)
            return Found(diff_id, form.tar_size, form.created_ns, imported.source.name)
        lost = self._imported.lost(step.key.digest)
        if lost is not None:
            name = lost.source.name
            return NotFound(f"its layer is not in {name}", Miss(lost.form.key, source=name))
        if record is None:
            return None
        return NotFound(_LAYER_GONE, Miss(record.key, record.created_ns))

    def _earlier(self) -> Iterator[Earlier]:
        """The steps that were made before: those of this store first."""
        for record in self._builds.latest(_MOST_LOOKED_AT):
            yield Earlier(record, partial(self._builds.table, record))
        for step in islice(self._imported.steps(), _MOST_LOOKED_AT):
            table = partial(self._imported.table, step, self._addition)
            yield Earlier(step.record, table, step.source.name)

    def _words(self, miss: Miss, missed: str) -> str:
        if not miss.nearest:
            return _NOTHING_LIKE_IT
        texts = [difference.text for difference in miss.differences]
        if miss.differences and miss.differences[-1].part == "parent":
            texts[-1] = f"it follows {missed}" if missed else "it stands on another base"
            if len(texts) == 1 and missed:
                return texts[0]
        if miss.source:
            made = rfc3339(miss.made_ns // _SECOND_NS * _SECOND_NS)
            texts[-1] += f" (compared with the build of {made} imported from {miss.source})"
        return "; ".join(texts)


def now_ns(latest_ns: int | None) -> int:
    """When something is made, as an image says it."""
    return time.time_ns() if latest_ns is None else latest_ns
