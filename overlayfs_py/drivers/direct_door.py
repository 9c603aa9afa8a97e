"""The door of a mount's daemon, at which its owner asks for an empty upper under a mount in use.

One request at a time, each a packet of JSON: {"do": "snapshot", "upper": PATH, "work": PATH,
"name": NAME} lets what shows stay, {"do": "reset", "upper": PATH, "work": PATH, "kept": [PATH...],
"layers": [PATH...] or null} takes it away. The answer, {} or {"error": TEXT}, comes once the kernel
has forgotten what is not true any more.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import trio

# Here, since a request loads no module, nor does one at the door.
from overlayfs_py.drivers.slices import Slices
from overlayfs_py.errors import describe
from overlayfs_py.syscalls import files
from overlayfs_py.union import resetting, snapshots  # noqa: F401
from overlayfs_py.union.resetting import Changed
from overlayfs_py.wire import replies
from overlayfs_py.wire.protocol import ROOT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.direct_driver import Server
    from overlayfs_py.union.core import Node, Union

_LARGEST = 1 << 20  # bytes of a request: thousands of mount points
# Guesses: what is under way is a copy-up of a large file or an fsync; somebody waits meanwhile.
_PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.001


async def heed(server: Server, fd: int, target: bytes) -> None:
    """Do what is asked for until the one who asks has gone."""
    os.set_blocking(fd, False)
    while True:
        await trio.lowlevel.wait_readable(fd)
        try:
            packet = os.read(fd, _LARGEST)
        except OSError:  # it was killed
            return
        if not packet:
            return
        try:
            await _do(server, target, json.loads(packet))
            answer: dict[str, str] = {}
        except OSError as error:
            answer = {"error": describe(error)}
        try:
            os.write(fd, json.dumps(answer).encode())
        except OSError:
            return


async def _do(server: Server, target: bytes, request: dict[str, object]) -> None:
    match request:
        case {
            "do": "reset",
            "upper": str(upper),
            "work": str(work),
            "kept": list(kept),
            "layers": list() | None as layers,
        }:
            paths = [os.fsencode(path) for path in kept]
            below = None if layers is None else [os.fsencode(path) for path in layers]
            await _come_to_rest(server, target)
            await _change(
                server,
                lambda: server.union.reset(os.fsencode(upper), os.fsencode(work), paths, below),
            )
        case {"do": "snapshot", "upper": str(upper), "work": str(work), "name": str(name)}:
            await Slices().run(server.union.completing_links())
            await _come_to_rest(server, target)
            await _change(server, lambda: _snapshot(server.union, upper, work, name))
        case _:
            raise OSError("no such request")


def _snapshot(union: Union, upper: str, work: str, name: str) -> Changed:
    linked = union.snapshot(os.fsencode(upper), os.fsencode(work), os.fsencode(name))
    return Changed([], [], linked)


async def _come_to_rest(server: Server, target: bytes) -> None:
    """Wait until nothing is under way but requests that are answered at once."""
    # What is dirty in a mapping belongs to the state before, even where nothing of the file has
    # been written yet: it would be copied up after the change.
    await trio.to_thread.run_sync(files.sync_filesystem, target)
    with trio.move_on_after(_PATIENCE_S):
        # A loop that takes no requests meanwhile would stop what is under way: some of it waits for
        # the kernel to write back.
        while server.is_busy:  # noqa: ASYNC110 - many ends, and seldom
            await trio.sleep(_LOOK_AGAIN_S)
    if server.is_busy:
        raise OSError("files are being copied all the time")


async def _change(server: Server, change: Callable[[], Changed]) -> None:
    if server.tasks is None:
        return  # the mount is gone, and so will be the one who asks
    # From the last look on to here nobody else has run: it is atomic to all requests.
    changed = change()
    told = trio.Event()

    async def tell() -> None:
        await _tell(server, changed)
        told.set()

    server.tasks.start_soon(tell)
    await told.wait()


async def _tell(server: Server, changed: Changed) -> None:
    """Have the kernel forget what has changed: names first, with which most nodes go.

    In a thread: some of it waits for locks of processes that wait for us.
    """
    union = server.union

    def number(node: Node) -> int:
        return ROOT_ID if node is union.root else node.ino

    names = [replies.name_changed(number(parent), name) for parent, name in changed.names]
    await trio.to_thread.run_sync(_send, server, names)
    await trio.lowlevel.checkpoint()  # the loop hears which nodes have gone
    contents = [node for node in changed.contents if union.is_referred_to(node.ino)]
    rest = [replies.pages_changed(number(node), 0, 0) for node in contents]
    rest += [replies.attributes_changed(number(node)) for node in changed.attributes]
    await trio.to_thread.run_sync(_send, server, rest)


def _send(server: Server, messages: list[bytes]) -> None:
    for message in messages:
        server.tell(message)
