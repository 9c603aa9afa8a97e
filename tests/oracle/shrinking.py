"""Make a found difference small: fewer steps, fewer layers, plainer items.

Works on the script that a `Found` carries, not on the draws that led to it: a step that is gone
shifts no other one. So it takes seconds where hypothesis's own shrinking took five minutes.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.oracle.differential import Differential, Found, Step
from tests.oracle.layers import Item, Layer, Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.oracle.sides import Party

    Stack = Sequence[Layer]
    Steps = Sequence[Step]

_BUDGET_S = 180.0


def play(
    stack: Stack,
    steps: Steps,
    right: Party,
    tested: Party,
    namespace: bytes,
    *,
    metacopies: bool = False,
    pair_kind: type[Differential] = Differential,
) -> Found | None:
    """Run a script on fresh mounts; what it finds, if anything."""
    base = Path(tempfile.mkdtemp(prefix="oracle-"))
    base.chmod(0o755)
    try:
        pair = pair_kind(base, stack, right, tested, namespace=namespace, metacopies=metacopies)
        try:
            for step in steps:
                pair.repeat(step)
        except Found as found:
            return found
        except KeyError:  # a step through a handle that no step opens any more
            return None
        finally:
            pair.close()
    finally:
        shutil.rmtree(base)
    return None


def shrink(found: Found, attempt: Callable[[Stack, Steps], Found | None]) -> Found:
    """The smallest script that still finds the same kind of difference."""
    return _Shrinker(found, attempt).run()


class _Shrinker:
    def __init__(self, found: Found, attempt: Callable[[Stack, Steps], Found | None]) -> None:
        self._best = found
        self._attempt = attempt
        self._deadline = time.monotonic() + _BUDGET_S

    def run(self) -> Found:
        self._drop_steps()
        self._drop_layers()
        for depth in range(len(self._best.stack)):
            self._drop_items(depth)
            self._simplify(depth)
        self._drop_steps()
        return self._best

    def _try(self, stack: Stack, steps: Steps) -> bool:
        if time.monotonic() > self._deadline:
            return False
        found = self._attempt(stack, steps)
        if found is None or _signature(found) != _signature(self._best):
            return False
        self._best = found
        return True

    def _drop_steps(self) -> None:
        size = max(1, len(self._best.steps) // 2)
        while size:
            start = 0
            while start < len(self._best.steps):
                steps = self._best.steps
                if not self._try(self._best.stack, steps[:start] + steps[start + size :]):
                    start += size
            size //= 2

    def _drop_layers(self) -> None:
        depth = 0
        while depth < len(self._best.stack) > 1:
            stack = self._best.stack
            if not self._try(stack[:depth] + stack[depth + 1 :], self._best.steps):
                depth += 1

    def _drop_items(self, depth: int) -> None:
        place = 0
        while place < len(self._best.stack[depth].items):
            items = self._best.stack[depth].items
            if not self._replace(depth, items=items[:place] + items[place + 1 :]):
                place += 1

    def _simplify(self, depth: int) -> None:
        self._replace(depth, marks=Marks.DEVICE)
        for place, item in enumerate(self._best.stack[depth].items):
            items = list(self._best.stack[depth].items)
            items[place] = Item(item.path, item.kind, content=item.content, to=item.to)
            self._replace(depth, items=tuple(items))

    def _replace(self, depth: int, **changed: object) -> bool:
        stack = list(self._best.stack)
        before = stack[depth]
        stack[depth] = replace(before, **changed)
        return stack[depth] != before and self._try(tuple(stack), self._best.steps)


def _signature(found: Found) -> tuple[str, ...]:
    """What kind of difference it is: without the paths, numbers and times."""
    first = found.lines[0] if found.lines else ""
    return found.where, re.sub(r"b'[^']*'|[0-9]+", "", first)[:60]
