"""The direct driver's lanes: requests for slow volumes, each answered by its lane's thread."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.drivers.direct_handlers import handlers_of
from overlayfs_py.drivers.lanes import Lane, Lanes
from overlayfs_py.late_import import LateModule
from overlayfs_py.wire import replies, requests
from overlayfs_py.wire.protocol import ROOT_ID, Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from overlayfs_py.drivers.direct_operations import DirectOperations
    from overlayfs_py.union.core import Node, SlowVolume, Union
    from overlayfs_py.wire.requests import Body, Header
else:
    trio = LateModule("trio")


class DirectLane(Lane):
    """A lane with handlers of its own, over the volume's own union."""

    def __init__(self, volume: SlowVolume, operations: DirectOperations) -> None:
        super().__init__(volume)
        self._operations = operations
        self._handlers = handlers_of(operations)

    def answer(self, header: Header, body: Body) -> Awaitable[bytes]:
        """Return what answers a request; nothing of it lies in the device's buffer afterwards."""
        if isinstance(body, requests.Write):
            body = body._replace(data=memoryview(bytes(body.data)))
        return self.run(partial(self._handle, header, body))

    def enter(self) -> Awaitable[bytes]:
        """Return what answers the lookup of the volume itself."""
        return self.run(self._root_entry)

    def _root_entry(self) -> bytes:
        self._forget()
        union = self.volume.union
        union.hold(union.root)
        return replies.entry(union.root.ino, union.attributes(union.root), 0)

    def _handle(self, header: Header, body: Body) -> bytes:
        self._forget()
        self.volume.union.note_caller(header)
        answer = self._handlers[header.opcode](header, body)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        if isinstance(answer, Awaitable):
            # Tasks of its own, in this thread: they use what the lane's next call will.
            answer = trio.run(_result_of, answer)
        return bytes(answer)

    def _forget(self) -> None:
        while self.forgotten:
            ino, count = self.forgotten.popleft()
            self._operations.give_up(ino, count)


async def _result_of(answer: Awaitable[bytes]) -> bytes:
    return await answer


class DirectLanes(Lanes[DirectLane]):
    """The lanes of one mount, by what a request is about."""

    def __init__(self, union: Union, make_operations: Callable[[Union], DirectOperations]) -> None:
        super().__init__(union, lambda volume: DirectLane(volume, make_operations(volume.union)))
        self._union = union

    def answer(self, header: Header, body: Body) -> Awaitable[bytes] | None:
        """Return what answers a request in its lane; None for one that is about none.

        Raises:
            OSError: EXDEV, it would connect a slow volume with something else.
        """
        lane = self.of(header.node)
        if lane is not self.of(_other_node(header, body)):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        if lane is not None:
            return lane.answer(header, body)
        if header.opcode == Opcode.LOOKUP and isinstance(body, requests.Named):
            door = self.of(self._union.attached_at(self._parent(header.node), body.name))
            return None if door is None else door.enter()
        return None

    def _parent(self, ino: int) -> Node:
        return self._union.root if ino == ROOT_ID else self._union.node(ino)

    def forget(self, header: Header, body: requests.Forgotten) -> requests.Forgotten:
        """Take the references to nodes of lanes; returns the others."""
        others = []
        for ino, count in body.nodes:
            lane = self.of(ino or header.node)
            if lane is None:
                others.append((ino, count))
            else:
                lane.forgotten.append((ino or header.node, count))
        return requests.Forgotten(others)


def _other_node(header: Header, body: Body) -> int:
    """The second node that a request is about; the first, of one with a single one."""
    if isinstance(body, requests.Rename):
        return body.new_parent
    if isinstance(body, requests.Link):
        return body.old_node
    if isinstance(body, requests.CopyFileRange):
        return body.node_out
    return header.node
