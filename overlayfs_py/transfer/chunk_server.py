"""The process that brings chunks of a store's layers: to who reads them, and the rest after that.

One for each store, as long as a layer is coming. It listens at a socket; each connection asks for
one chunk and hears when it is here, or why it did not come in time. While nobody waits it fetches
what a first run has used, then the rest; a layer that is whole by that becomes one like all others.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from overlayfs_py.errors import describe
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.packs.arrivals import SOCKET, read_wanted
from overlayfs_py.registry.client import ClientOptions, RegistryClient
from overlayfs_py.transfer.chunk_fetch import RETRY, ChunkFetch
from overlayfs_py.transfer.coming_layer import ComingLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.packs.arrivals import Wanted
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.records import ComingSource
    from overlayfs_py.store.store import Store

    OptionsOf = Callable[[ComingSource], ClientOptions]

log = logging.getLogger(__name__)

_QUIET_S = 3.0  # after the last reader, before the rest comes: a guess at a program's start
_LOOK_S = 0.2
_LONGEST_PAUSE_S = 30.0
_PARALLEL = 3  # of the rest: a reader who comes then shares the link with few
_LONGEST_LINE = 1024
_IN_VAIN_S = 300.0  # without anything that came, or anybody who asked
_BACKLOG = 128


class ChunkServer:
    """What brings the chunks of one store."""

    def __init__(self, store: Store, options_of: OptionsOf) -> None:
        self._store = store
        self._options_of = options_of
        self._layers: dict[str, ChunkFetch] = {}  # by the names of their directories
        self._clients: dict[tuple[str, str, str], RegistryClient] = {}
        self._last_use_s = self._last_came_s = 0.0
        self._connections = 0
        self._came = trio.Event()  # replaced with each chunk that a reader has got

    async def run(self, listener: socket.socket) -> None:
        """Serve until no layer is coming any more."""
        self._last_use_s = self._last_came_s = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._look()
                nursery.start_soon(self._accept, trio.socket.from_stdlib_socket(listener))
                await self._bring_rest()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                for client in self._clients.values():
                    await client.__aexit__(None, None, None)

    # Layers.

    def _look(self) -> None:
        """Open the layers that have come since."""
        for layer, source in self._store.coming_layers():
            name = layer.name
            if name in self._layers:
                continue
            try:
                opened = ComingLayer(layer, source)
            except OSError as error:
                log.warning("%s: cannot be completed: %s", name, describe(error))
                continue
            # What a crash has left is not what it seems.
            opened.doubt_all()
            sources = self._sources(source)
            self._layers[name] = ChunkFetch(opened, sources, self._nursery)

    def _sources(self, source: ComingSource) -> list[Repository]:
        key = (str(source.tls_verify), source.cert_dir, source.authfile)
        client = self._clients.get(key)
        if client is None:
            options = replace(self._options_of(source), retry=RETRY)
            client = self._clients[key] = RegistryClient(options)
        found: list[Repository] = []
        for repository in source.repositories:
            found += client.pull_sources(parse_reference(repository))
        return found

    # Readers.

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        while True:
            connection, _ = await listener.accept()
            self._nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: trio.socket.SocketType) -> None:
        self._connections += 1
        with connection, suppress(OSError):  # a reader that was killed
            answer = await self._answer(await self._line(connection))
            await connection.send(answer.encode("utf-8", "surrogateescape") + b"\n")
        self._connections -= 1
        self._last_use_s = trio.current_time()

    async def _line(self, connection: trio.socket.SocketType) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            piece = await connection.recv(_LONGEST_LINE)
            if not piece:
                break
            line += piece
        return line

    async def _answer(self, line: bytes) -> str:
        try:
            wanted = read_wanted(line)
        except (ValueError, KeyError, TypeError):
            return "not a request"
        if not wanted.layer or wanted.layer not in self._layers:
            self._look()
        if not wanted.layer:
            return "ok"
        fetch = self._layers.get(wanted.layer)
        if fetch is None:
            return "no such layer is coming"
        place = fetch.layer.places.get(wanted.chunk)
        if place is None:
            return "it has no such chunk"
        return await self._bring(fetch, place, wanted)

    async def _bring(self, fetch: ChunkFetch, place: int, wanted: Wanted) -> str:
        if wanted.again:
            fetch.layer.doubt(place)
        fetch.why = None
        with trio.move_on_after(wanted.seconds):
            await fetch.bring(place)
            came, self._came = self._came, trio.Event()
            came.set()
            return "ok"
        return describe(fetch.why) if isinstance(fetch.why, OSError) else "nothing came"

    # The rest.

    async def _bring_rest(self) -> None:
        for _ in range(_PARALLEL):
            self._nursery.start_soon(self._work)
        while self._layers or self._connections or self._is_new():
            await trio.sleep(_LOOK_S)
            for name, fetch in list(self._layers.items()):
                if fetch.layer.is_gone:
                    self._let_go(name)
                elif fetch.layer.is_whole:
                    await self._finish(name, fetch)
            if self._is_in_vain():
                return  # whoever reads next starts it again

    def _is_new(self) -> bool:
        """Whether it has just been started, or asked."""
        return trio.current_time() - self._last_use_s < _QUIET_S

    def _is_in_vain(self) -> bool:
        since = max(self._last_use_s, self._last_came_s)
        return not self._connections and trio.current_time() - since > _IN_VAIN_S

    async def _work(self) -> None:
        """Fetch what nobody waits for, one request after the other."""
        pause_s = _LOOK_S
        while True:
            job = self._next_job()
            if job is None:
                await trio.sleep(_LOOK_S)
                continue
            fetch, places = job
            try:
                await fetch.fetch_next(places)
            except OSError as error:
                if pause_s == _LOOK_S:
                    log.warning("%s", describe(error))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                with trio.move_on_after(pause_s):
                    await self._came.wait()
            else:
                self._last_came_s = trio.current_time()
                pause_s = _LOOK_S

    def _next_job(self) -> tuple[ChunkFetch, range | None] | None:
        """A layer, and which of its chunks are to be fetched; None for any."""
        for fetch in self._layers.values():
            places = fetch.next_ordered()
            if places is not None:
                return fetch, places
        if not self._is_quiet():
            return None
        return next(((each, None) for each in self._layers.values() if each.has_free), None)

    def _is_quiet(self) -> bool:
        """Whether no reader may want the link for itself; one who reads all does not."""
        layers = self._layers.values()
        if any(each.is_read_through for each in layers):
            return True
        wanted_s = max((each.last_wanted_s for each in layers), default=0)
        return trio.current_time() - wanted_s >= _QUIET_S and not self._is_new()

    async def _finish(self, name: str, fetch: ChunkFetch) -> None:
        """Make a layer one like all others, if it is what its image names."""
        diff_id = fetch.layer.diff_id
        try:
            fault = await trio.to_thread.run_sync(self._store.finish_coming, diff_id)
        except OSError as error:
            log.warning("%s: cannot be completed: %s", diff_id, describe(error))
        else:
            if fault is not None:
                log.error("%s: not the layer that its image names: %s", diff_id, fault)
        self._let_go(name)

    def _let_go(self, name: str) -> None:
        self._layers.pop(name).layer.close()


def listen(directory: str) -> socket.socket:
    """Listen in a store's directory of layers that are coming; the caller is alone in doing so."""
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory_fd)
        listener = socket.socket(socket.AF_UNIX)
        # Through the descriptor: the path may be longer than an address.
        listener.bind(f"/proc/self/fd/{directory_fd}/{SOCKET}")
        listener.listen(_BACKLOG)
    finally:
        os.close(directory_fd)
    return listener
