"""The pyfuse3 driver's lanes: requests for slow volumes, each answered by its lane's thread."""

from __future__ import annotations

import errno
import functools
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pyfuse3

from overlayfs_py.drivers import pyfuse3_values as values
from overlayfs_py.drivers.lanes import Lane, Lanes
from overlayfs_py.drivers.pyfuse3_operations import UnionOperations
from overlayfs_py.drivers.pyfuse3_wakeups import Wakeups
from overlayfs_py.drivers.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from pyfuse3 import EntryAttributes, InodeT

    from overlayfs_py.union.core import Node, SlowVolume, Union

# An open directory's handle is its lane's number, from 1 on, and the lane's own handle below it.
_HANDLE_BITS = 40
_FIRST_IS_A_NODE = (
    *("lookup", "getattr", "setattr", "readlink", "mknod", "mkdir", "symlink", "link", "unlink"),
    *("rmdir", "rename", "open", "create", "opendir"),
    *("getxattr", "listxattr", "setxattr", "removexattr"),
)
_OF_OPEN_FILES = ("read", "write", "fsync")
_OF_OPEN_DIRECTORIES = ("readdir", "fsyncdir", "releasedir")


class _NoWakeups(Wakeups):
    @contextmanager
    def while_waiting(self) -> Iterator[None]:
        """The thread that serves sees to it while the lane is waited for."""
        yield


class _InLane(UnionOperations):
    """The handlers over a volume's own union, which never wait for another thread."""

    def __init__(self, union: Union, *, leaves_umask: bool) -> None:
        uses = Uses()  # a volume's files are none of a layer's
        super().__init__(union, lambda: None, uses, leaves_umask=leaves_umask)
        self.wakeups = _NoWakeups()

    async def _sync(self, node: Node, *, data_only: bool) -> None:
        self._union.sync(node, data_only=data_only)()

    def give_up(self, inode: int, count: int) -> None:
        """Count references that the kernel has given up."""
        self._union.release(inode, count)

    def enter(self) -> EntryAttributes:
        """Answer the lookup of the volume itself."""
        return self._held(self._union.root)


class Pyfuse3Lane(Lane):
    """A lane with handlers of its own."""

    def __init__(self, volume: SlowVolume, *, leaves_umask: bool) -> None:
        super().__init__(volume)
        self._operations = _InLane(volume.union, leaves_umask=leaves_umask)

    def call(self, name: str, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 - any handler's
        """Answer a request, in the lane's thread."""
        while self.forgotten:
            self._operations.give_up(*self.forgotten.popleft())
        if name == "enter":
            return self._operations.enter()
        handler: Callable[..., Coroutine[Any, Any, Any]] = getattr(self._operations, name)
        steps = handler(*arguments)
        try:
            steps.send(None)
        except StopIteration as end:
            return end.value
        steps.close()
        raise RuntimeError(f"{name} waits in a lane")


class LanedOperations(UnionOperations):
    """The handlers of a mount with slow volumes."""

    def __init__(
        self, union: Union, on_init: Callable[[], None], uses: Uses, *, leaves_umask: bool
    ) -> None:
        super().__init__(union, on_init, uses, leaves_umask=leaves_umask)
        self._lanes = Lanes(union, partial(Pyfuse3Lane, leaves_umask=leaves_umask))

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        others = []
        for inode, count in inode_list:
            lane = self._lanes.of(inode)
            if lane is None:
                others.append((inode, count))
            else:
                lane.forgotten.append((inode, count))
        await super().forget(others)

    def lane_of(
        self, name: str, arguments: Sequence[Any]
    ) -> tuple[Pyfuse3Lane | None, str, list[Any]]:
        """Return who answers a request, and what is to be called there."""
        first, *rest = arguments
        if name in _OF_OPEN_DIRECTORIES:
            number, handle = first >> _HANDLE_BITS, first & (1 << _HANDLE_BITS) - 1
            return self._lanes.all[number - 1] if number else None, name, [handle, *rest]
        lane = self._lanes.of(values.ino_of(first) if name in _OF_OPEN_FILES else first)
        other = {"link": 0, "rename": 1}.get(name)
        if other is not None and self._lanes.of(rest[other]) is not lane:
            raise pyfuse3.FUSEError(errno.EXDEV)
        if lane is None and name == "lookup":
            lane = self._lanes.of(self._union.attached_at(self._node(first), rest[0]))
            name = "lookup" if lane is None else "enter"
        return lane, name, list(arguments)

    async def answer_in(self, lane: Pyfuse3Lane, name: str, arguments: list[Any]) -> Any:  # noqa: ANN401
        """Answer a request in its lane."""
        with self.wakeups.while_waiting():
            answer = await lane.run(partial(lane.call, name, arguments))
        if name != "opendir":
            return answer
        return answer | self._lanes.all.index(lane) + 1 << _HANDLE_BITS


def _laned(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    ours: Callable[..., Coroutine[Any, Any, Any]] = getattr(UnionOperations, name)

    @functools.wraps(ours)
    async def handler(self: LanedOperations, *arguments: Any) -> Any:  # noqa: ANN401
        lane, called, its = self.lane_of(name, arguments)
        if lane is None:
            return await ours(self, *arguments)
        return await self.answer_in(lane, called, its)

    return handler


for _name in (*_FIRST_IS_A_NODE, *_OF_OPEN_FILES, *_OF_OPEN_DIRECTORIES):
    setattr(LanedOperations, _name, _laned(_name))
