"""The same operations on two mounts over identical layers: the first is right, by definition.

A `Differential` knows nothing of hypothesis: the state machine drives it with random steps, a
regression test with the steps of a shrunk failure. Every difference that no entry of
`divergences` excuses is a `Found`, which can repeat itself.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tests.oracle.divergences import (
    KERNELS_HERE,
    OURS_ELSEWHERE,
    RESULT,
    UPPER,
    VIEW,
    Case,
    Uppers,
    excused,
    is_change_in_vain,
    opens_to_write,
)
from tests.oracle.layers import Dialect, Layer, lay, link_counts, typed
from tests.oracle.operations import attempt, when
from tests.oracle.sides import Party, Side
from tests.oracle.trees import commit, make_trees
from tests.oracle.upper_meaning import UpperMeaning
from tests.support.snapshot import Difference, Snapshot, differences, layer_state, snapshot
from tests.support.uppers import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Step(NamedTuple):
    """One call of a method of `Differential`."""

    method: str
    arguments: tuple[object, ...] = ()
    uid: int = 0

    def __str__(self) -> str:
        as_user = [f"uid={self.uid}"] if self.uid else []
        return f"pair.{self.method}({', '.join([*map(typed, self.arguments), *as_user])})"


class Found(AssertionError):
    """A difference, and all that led to it."""

    def __init__(
        self, where: str, lines: Sequence[str], stack: Sequence[Layer], steps: Sequence[Step]
    ) -> None:
        self.where = where
        self.lines = tuple(lines)
        self.stack = tuple(stack)
        self.steps = tuple(steps)
        layers = ",\n    ".join(map(repr, stack))
        super().__init__(
            "\n".join([where, *self.lines, f"stack = [\n    {layers},\n]", *map(str, steps)])
        )


class Differential:
    """Two mounted sides; `close` unmounts whatever happened."""

    def __init__(
        self,
        base: Path,
        stack: Sequence[Layer],
        right: Party,
        tested: Party,
        *,
        namespace: bytes = TRUSTED,
        metacopies: bool = False,
    ) -> None:
        self.stack = list(stack)
        self.namespace = namespace
        self.metacopies = metacopies
        self._links = link_counts(self.stack)
        self.steps: list[Step] = []
        self.known = _sorted_by_kind({})  # the last view, for the next steps to aim at
        self.right = self._side(right, base / "right")
        self.tested = self._side(tested, base / "tested")
        self.sides = (self.right, self.tested)
        self._changed_in_vain = False
        self._opened_metacopy = False
        self._layers = self._layer_states()
        try:
            for side in self.sides:
                side.mount()
        except BaseException:
            self.close()
            raise

    @property
    def has_layer_links(self) -> bool:
        return bool(self._links)

    def _side(self, party: Party, base: Path) -> Side:
        trees = make_trees(base, len(self.stack))
        lay(self.stack, list(trees.lowers), party.dialect, self.namespace)
        return Side(party, trees)

    def close(self) -> None:
        with ExitStack() as both:
            for side in self.sides:
                both.callback(side.unmount)

    def repeat(self, step: Step) -> None:
        options = {"uid": step.uid} if step.uid else {}
        getattr(self, step.method)(*step.arguments, **options)

    def do(self, name: str, *arguments: object, uid: int = 0) -> object:
        """Run one operation on both sides; the result, or the name of the error, must be one."""
        self.steps.append(Step("do", (name, *arguments), uid))
        expected, actual = (attempt(side.place, name, arguments, uid) for side in self.sides)
        opened = self.metacopies and opens_to_write((name, *arguments), actual)
        self._opened_metacopy |= opened
        if expected != actual:
            found = [Difference(b"", name, expected, actual)]
            self._require(found, RESULT, call=(name, *arguments))
            self._forget(name, arguments)
        self._changed_in_vain |= is_change_in_vain((name, *arguments), actual)
        return actual

    def _forget(self, name: str, arguments: tuple[object, ...]) -> None:
        """Close a held file whose two sides differ by now, as they may, and undo its link."""
        if name.startswith("fd_"):
            for side in self.sides:
                side.place.close(arguments[0])
                if name == "fd_link":
                    side.place.remove_or_make_and_remove(arguments[1])

    def compare(self) -> None:
        self.steps.append(Step("compare"))
        with self._reporting(VIEW):
            expected, actual = (side.view() for side in self.sides)
        self.known = _sorted_by_kind(actual)
        self._require(differences(_timeless(expected), _timeless(actual)), VIEW, expected)

    def remount(self) -> None:
        """Unmount and mount again: what only the daemon's memory holds is lost."""
        self.steps.append(Step("remount"))
        with self._reporting("remount"):
            for side in self.sides:
                side.unmount()
            for side in self.sides:
                side.mount()

    def commit(self) -> None:
        """Make each side's upper its topmost layer, below a new upper."""
        self.steps.append(Step("commit"))
        with self._reporting("commit"):
            for side in self.sides:
                side.unmount()
            self._links |= link_counts_in(self.tested.trees.upper)
            for side in self.sides:
                side.trees = commit(side.trees)
            self._layers = self._layer_states()
            for side in self.sides:
                side.mount()

    def finish(self, *, swap: bool = True) -> None:
        """The checks at the end: layers, workdir and upper on disk, then each other's upper."""
        self.compare()
        self.steps[-1] = Step("finish")
        with self._reporting(VIEW):
            views = [side.view() for side in self.sides]
        with self._reporting("unmount"):
            for side in self.sides:
                side.unmount()
        with self._reporting(UPPER):
            uppers = Uppers(*map(self._meaning, self.sides))
        if not self.right.trees.commits and not self.metacopies:
            # The meaning of an upper over layers that have redirects themselves is not worked out,
            # nor that of a file without data.
            found = differences(uppers.kernels.meanings, uppers.ours.meanings)
            self._require(found, UPPER, uppers=uppers)
        if self.tested.party.tidy:
            self._require_tidy(uppers.ours)
        if swap:
            # Each reading may write to the upper, so each upper is read by the other side only.
            self._require_same_elsewhere(self.right, self.tested, views[1], uppers)
            self._require_same_elsewhere(self.tested, self.right, views[0], uppers)

    def _meaning(self, side: Side) -> UpperMeaning:
        lowers = self.right.trees.lowers
        return UpperMeaning(side.trees.upper, lowers, self.namespace, metacopies=self.metacopies)

    def _layer_states(self) -> list[dict[bytes, tuple[object, ...]]]:
        return [layer_state(root) for root in self.tested.trees.lowers]

    def _require_tidy(self, upper: UpperMeaning) -> None:
        """Nothing was written to the layers, nothing is left in the workdir."""
        left = [
            os.path.join(directory, name)
            for directory, _, names in os.walk(self.tested.trees.work)
            for name in names
            if not (self._links and os.path.basename(directory) == "index")
        ]
        if left:
            raise self._found("workdir", [f"left: {left}"])
        for before, after in zip(self._layers, self._layer_states(), strict=True):
            if changed := differences(before, after):
                raise self._found("layers", [str(one) for one in changed])
        if upper.linked_elsewhere and not self._links:
            raise self._found(UPPER, [f"more links than names: {sorted(upper.linked_elsewhere)}"])

    def _require_same_elsewhere(
        self, reader: Side, writer: Side, view: Snapshot, uppers: Uppers
    ) -> None:
        where = OURS_ELSEWHERE if writer is self.tested else KERNELS_HERE
        # The kernel has to have layers in its own form. An index goes with one copy of the layers,
        # whose file handles it keeps.
        lowers, mounter = writer.trees.lowers, reader.party.mounter
        if reader.party.dialect is Dialect.KERNEL is not writer.party.dialect:
            lowers, mounter = reader.trees.lowers, reader.party.elsewhere or mounter
        swapped = replace(writer.trees, lowers=lowers)
        with self._reporting(where), mounter(swapped):
            # The kernel keeps d_ino by the origin marks of its own copy-ups, which we do not write.
            seen = snapshot(swapped.root, mtime=True, private=(), check_inodes=False)
        if reader.trees.commits:
            # What changed before a commit did so at another moment in each one's layers.
            view, seen = _timeless(view), _timeless(seen)
        self._require(differences(view, seen), where, view, uppers)

    def _require(
        self,
        found: list[Difference],
        where: str,
        view: Snapshot | None = None,
        uppers: Uppers | None = None,
        call: tuple[object, ...] = (),
    ) -> None:
        known = (self._links, view, uppers, call, self._changed_in_vain, self._opened_metacopy)
        cases = (Case(one, where, *known) for one in found)
        kept = [case.found for case in cases if not excused(case)]
        if kept:
            raise self._found(where, [str(one) for one in kept])

    @contextmanager
    def _reporting(self, where: str) -> Iterator[None]:
        """Say what led to a failure that is no difference: a daemon's last words, an error."""
        try:
            yield
        except (AssertionError, OSError) as error:
            raise self._found(where, [f"{type(error).__name__}: {error}"]) from error

    def _found(self, where: str, lines: Sequence[str]) -> Found:
        sides = f"{where}: {self.right.party.name} (left) and {self.tested.party.name}"
        return Found(sides, lines, self.stack, self.steps)


def link_counts_in(tree: Path) -> set[int]:
    """The link counts of a tree's files, where more than one."""
    found = snapshot(tree, check_inodes=False).values()
    return {entry.nlink for entry in found if entry.nlink is not None and entry.nlink > 1}


def _timeless(view: Snapshot) -> Snapshot:
    return {path: replace(entry, mtime_ns=when(entry.mtime_ns)) for path, entry in view.items()}


def _sorted_by_kind(view: Snapshot) -> dict[str, list[bytes]]:
    """The paths of a view for steps to aim at: "any", "file", "directory"; the root is last."""
    paths = [path for path in view if path != b"."]
    return {
        "any": [*paths, b"."],
        "file": [path for path in paths if view[path].kind == "file"],
        "directory": [*(path for path in paths if view[path].kind == "directory"), b"."],
    }
