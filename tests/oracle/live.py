"""A mount of ours that is never unmounted while its stack changes, against kernel overlayfs.

After each snapshot and each step back it must show what the kernel shows of those very layers,
mounted anew; and a snapshot must change nothing, inode numbers included.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import rule

from overlayfs_py.layers.reserved_xattrs import is_users
from tests.oracle.differential import Differential, Step, link_counts_in
from tests.oracle.divergences import VIEW
from tests.oracle.machine import Machine
from tests.oracle.trees import Trees, kernel_overlay_of, unmount
from tests.support.snapshot import differences, snapshot, walk
from tests.support.uppers import USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.oracle.sides import Party, Side
    from tests.oracle.warm import WarmDaemons

_TIMEOUT_S = 20.0
_MOST = 4  # snapshots of one mount
_EACH = 5  # operations between two changes of the stack


@dataclass(frozen=True)
class LiveTrees(Trees):
    """Trees whose uppers are never made twice: after a step back there is another third one."""

    serial: int = 0
    kept: tuple[Path, ...] = field(default=())  # those of `lowers` that were uppers, topmost first

    @property
    def upper(self) -> Path:
        return self.base / f"upper{self.serial}"

    @property
    def work(self) -> Path:
        return self.base / f"work{self.serial}"

    def over(self, kept: tuple[Path, ...], serial: int) -> LiveTrees:
        """The same layers below other uppers of before, and a new upper above them."""
        image = self.lowers[len(self.kept) :]
        made = replace(
            self, lowers=(*kept, *image), commits=len(kept), serial=serial, kept=tuple(kept)
        )
        for directory in (made.upper, made.work):
            directory.mkdir()
            directory.chmod(0o755)
        return made

    def with_root_of_layer(self) -> LiveTrees:
        """Let the upper's root be as that of the layer below, as a copy would."""
        below, status = os.fsencode(self.lowers[0]), self.lowers[0].stat()
        os.chown(self.upper, status.st_uid, status.st_gid)
        for name in map(os.fsencode, os.listxattr(below)):
            if is_users(name):
                os.setxattr(self.upper, name, os.getxattr(below, name))
        self.upper.chmod(stat.S_IMODE(status.st_mode))
        os.utime(self.upper, ns=(status.st_atime_ns, status.st_mtime_ns))
        return self


class Live(Differential):
    """`right` is kernel overlayfs, mounted anew each time; `tested` a mount with a door."""

    def __init__(self, base: Path, *arguments: object, **options: object) -> None:
        super().__init__(base, *arguments, **options)
        self._kept_by: list[tuple[LiveTrees, LiveTrees]] = []  # as each snapshot left them
        self._serial = 0

    def _side(self, party: Party, base: Path) -> Side:
        side = super()._side(party, base)
        trees = side.trees
        side.trees = LiveTrees(trees.base, trees.lowers)
        return side

    @property
    def snapshots(self) -> int:
        return len(self._kept_by)

    def commit(self) -> None:
        """Take a snapshot: nothing may change, and the kernel shows the same of the layers."""
        self.steps.append(Step("commit"))
        with self._reporting("snapshot"):
            self._close_held()
            before, numbers = self.tested.view(), _numbers(self.tested.trees.root)
            upper = self.tested.trees.upper
            self._change(snapshot_of(self.tested.trees, self._next()))
            found = [*differences(before, self.tested.view())]
            found += differences(numbers, _numbers(self.tested.trees.root))
        self._require(found, "snapshot", before)
        self._links |= link_counts_in(upper)
        with self._reporting("snapshot"):
            self.right.unmount()
            copied = self.right.trees.base / f"kept{self._serial}"
            subprocess.run(["cp", "-a", upper, copied], check=True)
            kept = (copied, *self.right.trees.kept)
            self.right.trees = self.right.trees.over(kept, self._serial).with_root_of_layer()
            self.right.mount()
        self._kept_by.append((self.right.trees, self.tested.trees))
        self._settle()

    def restore(self, which: int) -> None:
        """Go back to a snapshot; later ones stay."""
        self.steps.append(Step("restore", (which,)))
        if not self._kept_by:
            return
        right, tested = self._kept_by[which % len(self._kept_by)]
        with self._reporting("restore"):
            self._close_held()
            self._next()
            self.right.unmount()
            self.right.trees = right.over(right.kept, self._serial).with_root_of_layer()
            self.right.mount()
            self._change(reset_to(tested.over(tested.kept, self._serial)))
        self._settle()

    def remount(self) -> None:
        super().remount()
        self.compare()

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _close_held(self) -> None:
        for side in self.sides:
            side.place.close_all()

    def _change(self, asked: tuple[LiveTrees, dict[str, object]]) -> None:
        self.tested.trees, request = asked
        self.tested.party.mounter.ask(request)

    def _settle(self) -> None:
        """The kernel shows of the layers what we show; layers do not change from now on."""
        self._layers = self._layer_states()
        ours = self.tested.trees
        image = self.right.trees.lowers[len(self.right.trees.kept) :]
        bare = self.tested.trees.base / "bare"
        bare.mkdir(exist_ok=True)
        with self._reporting("fresh mount"), kernel_overlay_of((*ours.kept, *image), bare):
            shown = snapshot(bare, mtime=True, private=(), check_inodes=False)
        with self._reporting("fresh mount"):
            view = self.tested.view()
        # The kernel's view is the left one, and may count what is deleted: see the divergences.
        self._require(differences(shown, view), VIEW, shown)


def snapshot_of(trees: LiveTrees, serial: int) -> tuple[LiveTrees, dict[str, object]]:
    following = trees.over((trees.upper, *trees.kept), serial)
    name = trees.upper.name
    return following, {"do": "snapshot", **_places(following), "name": name}


def reset_to(trees: LiveTrees) -> tuple[LiveTrees, dict[str, object]]:
    layers = [str(path) for path in trees.kept]
    return trees, {"do": "reset", **_places(trees), "kept": [], "layers": layers}


def _places(trees: LiveTrees) -> dict[str, object]:
    return {"upper": str(trees.upper), "work": str(trees.work)}


def _numbers(root: Path) -> dict[bytes, tuple[int, int]]:
    return {path: (status.st_dev, status.st_ino) for path, _, status in walk(root)}


class WithDoor:
    """Mounts ours with a door, and asks at it."""

    def __init__(self, daemons: WarmDaemons, **options: object) -> None:
        self._daemons = daemons
        self._options = options
        self._door: socket.socket | None = None

    @contextmanager
    def __call__(self, trees: LiveTrees) -> Iterator[None]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_TIMEOUT_S)
        with ours, theirs:
            self._door = ours
            with self._daemons.mounted(
                trees, kept=trees.kept, door=theirs, driver="direct", **self._options
            ):
                try:
                    yield
                finally:
                    unmount(trees.root)

    def ask(self, request: dict[str, object]) -> None:
        assert self._door is not None
        self._door.send(json.dumps(request).encode())
        answer = json.loads(self._door.recv(1 << 16))
        assert answer == {}, answer


class LiveMachine(Machine):
    """Random operations, with snapshots and steps back in between."""

    pair_kind = Live

    def _do(self, name: str, *arguments: object, user: int = 0) -> object:
        if any(isinstance(each, bytes) and each.startswith(USER) for each in arguments):
            return None  # in a layer of ours another name to the kernel: `divergences`
        result = super()._do(name, *arguments, user=user)
        if self.done % _EACH == 0:
            self._guard(self._change_stack, self.done // _EACH)
        return result

    def _change_stack(self, count: int) -> None:
        if count % 3 and self.pair.snapshots < _MOST:
            self.pair.commit()
        else:
            self.pair.restore(count // 2)
        self.pair.compare()

    @rule()
    def commit(self) -> None:
        if self.pair.snapshots < _MOST:
            self._guard(self.pair.commit)

    @rule(which=st.integers(0, _MOST))
    def restore(self, which) -> None:
        self._guard(self.pair.restore, which)
        self._guard(self.pair.compare)


def live_machine(expected: Party, actual: Party, *, metacopies: bool = False) -> type[LiveMachine]:
    facts = {"right": expected, "tested": actual, "metacopies": metacopies, "swap": False}
    return type("LiveComparison", (LiveMachine,), facts)
