"""The process that mounts an image for a program, throws its changes away, and unmounts it.

It forks what serves the mount, which its caller, full of threads perhaps, cannot.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.drivers import mountinfo, mounting, service
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.layers.ids import IdMap
from overlayfs_py.mounts import companion, daemon, scratch
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.mounts.uppers import throwaway_upper
from overlayfs_py.store.store import Store
from overlayfs_py.syscalls.credentials import has_trusted_xattrs

# What a daemon loads after it is forked: trio takes a tenth of a second.
_OF_A_DAEMON = (
    "overlayfs_py.drivers.direct_driver",
    "overlayfs_py.drivers.supervision",
    "overlayfs_py.packs.layer",
    "trio",
)

_LONGEST_ANSWER = 1 << 16
_IN_USERS_XATTR = 2  # StackSpec.xattr_permissions

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.mounts.children import Child
    from overlayfs_py.union.values import StackSpec


class Mounted(NamedTuple):
    """One mount: the process that serves it, and the directory that has its changes."""

    server: Child
    changes: bytes | None
    door: socket.socket | None  # of its daemon, if that has one

    def end(self) -> None:
        """Unmount it if it still is, and throw its changes away."""
        if self.door is not None:
            self.door.close()
        self.server.stop()
        if self.changes is not None:
            scratch.remove(self.changes)


class Place:
    """Where one image is mounted, again and again."""

    def __init__(self, stack: StackSpec, plan: MountPlan, driver: str, *, writable: bool) -> None:
        self.now: Mounted | None = None
        self._stack = stack
        self._plan = plan
        self._driver = driver
        self._writable = writable

    def mount(self) -> None:
        """Mount it, with changes of its own."""
        spec, changes = self._stack, None
        if self._writable:
            changes = tempfile.mkdtemp(dir=os.path.dirname(self._plan.target))
            spec = throwaway_upper(spec, changes)

        ours, theirs = None, None
        if self._writable and self._driver != "pyfuse3":
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        plan = self._plan._replace(door_fd=None if theirs is None else theirs.fileno())

        def serve(on_ready: Callable[[], None]) -> None:
            if ours is not None:
                ours.close()
            service.serve(spec, plan, driver=self._driver, on_ready=on_ready)

        server = daemon.start(serve, daemon.Until.CALLER_ENDS, frozenset({0, 1}), keep_stderr=True)
        if theirs is not None:
            theirs.close()
        server.ready()
        self.now = Mounted(server, changes, ours)

    def throw_away(self) -> Callable[[], None]:
        """Go back to the image, in the mount where it can; returns what need not be waited for."""
        now = self.now
        is_there = mountinfo.topmost(self._plan.target) is not None  # the user may unmount it
        if is_there and now is not None and now.door is not None:
            with suppress(OSError):  # it has ended, or is busy
                return self._reset(now, now.door)
        old = self._mount_afresh()
        return old.end if old is not None else lambda: None

    def _reset(self, now: Mounted, door: socket.socket) -> Callable[[], None]:
        changes = tempfile.mkdtemp(dir=os.path.dirname(self._plan.target))
        spec = throwaway_upper(self._stack, changes)
        assert spec.upper is not None
        assert spec.work is not None
        places = {"upper": os.fsdecode(spec.upper), "work": os.fsdecode(spec.work)}
        door.send(json.dumps({"do": "reset", "kept": [], "layers": None, **places}).encode())
        answer = door.recv(_LONGEST_ANSWER)
        if not answer or json.loads(answer):
            scratch.remove(changes)
            raise OSError("the mount cannot go back")
        self.now = now._replace(changes=changes)
        return partial(scratch.remove, now.changes) if now.changes is not None else lambda: None

    def _mount_afresh(self) -> Mounted | None:
        """Mount it in place of what is there, which is returned and is to be ended.

        That takes longer than mounting, so the caller need not wait for it.
        """
        with suppress(OSError):  # the user has unmounted it
            mounting.unmount(self._plan.target, lazy=True)
        old, self.now = self.now, None
        self.mount()
        return old

    def end(self) -> None:
        if self.now is not None:
            self.now.end()


def main() -> None:
    """Serve the process whose pidfd is the first argument."""
    asked = companion.requests(int(sys.argv[1]))
    try:
        with ExitStack() as held:
            _serve(held, asked)
    except OSError as error:
        companion.answer_failure(error)


def _serve(held: ExitStack, asked: companion.Requests) -> None:
    first = next(asked, None)
    if first is None:
        return
    store = Store.open(Path(str(first["store"])), create=False)
    image = str(first["image"])
    _, layers = store.use_image(image)
    held.enter_context(layers)
    place = held.enter_context(scratch.scratch_directory(os.fsencode(str(first["below"]))))
    target = os.path.join(place, b"root")
    os.mkdir(target)
    plan = MountPlan(target, source=image, suid=False, dev=False)
    writable = bool(first["writable"])
    here = Place(_stack(layers.lower), plan, str(first["driver"]), writable=writable)
    held.callback(here.end)
    here.mount()
    answer: dict[str, object] = {"path": os.fsdecode(target)}
    companion.answer(answer)
    _load_for_the_next()
    for _ in asked:  # the one thing there is to ask for: a fresh one
        finish = here.throw_away()
        companion.answer(answer)
        finish()


def _stack(layers: tuple[bytes, ...]) -> StackSpec:
    stack = stack_of(layers)
    if has_trusted_xattrs():
        return stack
    # An ordinary user may change nothing that shows as another user's, nor give files away: those
    # that are copied up keep their owners in an xattr.
    ids = IdMap(squash_uid=os.getuid(), squash_gid=os.getgid())
    return stack._replace(ids=ids, xattr_permissions=_IN_USERS_XATTR)


def _load_for_the_next() -> None:
    """Load what a daemon does, while nobody waits: those that are forked later have it."""
    for module in _OF_A_DAEMON:
        importlib.import_module(module)
