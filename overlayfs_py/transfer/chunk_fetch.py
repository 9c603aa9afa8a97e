"""Fetching the chunks of one layer: what a reader waits for first, and ahead of who goes on.

A flight is one request for chunks that follow each other; each is put into the pack as it comes,
and who waits for it goes on. Who wants a chunk that is in a flight waits for that. A chunk comes
again at every try until it is what the index says; nothing else is ever written.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import trio

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, WrongContent
from overlayfs_py.registry.byte_range import ByteRange
from overlayfs_py.registry.errors import RegistryError, Unavailable
from overlayfs_py.registry.retrying import RetryPolicy
from overlayfs_py.transfer.pack_artifact import PACK_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.transfer.coming_layer import ComingLayer

log = logging.getLogger(__name__)

# Chunks in a request: of 128 KiB, about 60 KiB as they are stored.
MOST_IN_FLIGHT = 16
_LEAST_AHEAD = 2
_MOST_AHEAD = 96  # guess: more than a link of 200 Mbit/s and 80 ms has under way
_STEP = 8  # how far a reader may skip and still be one who goes on
_LONGEST_REST_S = 0.5  # of a request that a reader who comes then shares the link with
# A reader waits: what stalls is asked for again before it gives up.
RETRY = RetryPolicy(connect_s=5, silence_s=10, tries=2, first_delay_s=0.25, longest_delay_s=2)
_LEAST_STALL_S = 1.0
_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 4.0


class WrongChunk(WrongContent, RegistryError):
    """Bytes from a registry that are not those of the chunk that was asked for."""


class Flight:
    """One request that is under way."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start  # places of chunks
        self.end = end
        self.arrived = trio.Event()  # replaced with each chunk
        self.failure: OSError | None = None
        self.is_over = False


class ChunkFetch:
    """The requests for one layer."""

    def __init__(
        self, layer: ComingLayer, sources: Sequence[Repository], nursery: trio.Nursery
    ) -> None:
        """Fetch in tasks of `nursery`."""
        self.layer = layer
        self.last_wanted_s = -1e9  # on trio's clock
        self._sources = list(sources)
        self._nursery = nursery
        self._flights: dict[int, Flight] = {}  # by the place of each chunk that is in one
        source = layer.source
        self._blob = Descriptor(PACK_TYPE, Digest(source.blob), source.size)
        self._last = -_STEP - 1
        self._ahead = _LEAST_AHEAD
        self._stall_s = min(max(layer.wait_s / 3, _LEAST_STALL_S), RETRY.silence_s)
        self._ordered = _runs(layer.ordered())
        self._most_in_rest = _LEAST_AHEAD

    async def bring(self, place: int) -> None:
        """Return once a chunk is here; tries for ever, so it is the caller who gives up.

        What has gone wrong so far is in `why`.
        """
        delay_s = _FIRST_DELAY_S
        self._note_reader(place)
        while not self.layer.has(place):
            failure = await self._next_news(place)
            if failure is not None:
                self.why = failure
                await trio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        self.why = None

    why: OSError | None = None

    async def _next_news(self, place: int) -> OSError | None:
        """Wait for the next chunk of the flight that a chunk is in, or for its failure."""
        flight = self._flights.get(place)
        if flight is None:
            flight = self._begin(place, self._span_end(place, self._ahead))
        self._go_ahead(place)
        await flight.arrived.wait()
        return flight.failure if flight.is_over and not self.layer.has(place) else None

    def _note_reader(self, place: int) -> None:
        self.last_wanted_s = trio.current_time()
        if place == self._last:
            return  # who asks again has not gone on
        goes_on = 0 < place - self._last <= _STEP
        self._ahead = min(self._ahead * 2, _MOST_AHEAD) if goes_on else _LEAST_AHEAD
        self._last = place

    def _go_ahead(self, place: int) -> None:
        """Have so much under way that a reader who goes on need not wait for an answer's way."""
        if self._ahead <= MOST_IN_FLIGHT:
            return
        end = place + self._ahead
        start = self._next_free(place, end)
        while 0 <= start <= end - MOST_IN_FLIGHT // 2:
            flight = self._begin(start, self._span_end(start, MOST_IN_FLIGHT))
            start = self._next_free(flight.end, end)

    def _next_free(self, place: int, end: int) -> int:
        """The first chunk from a place on that is neither here nor in a flight, or -1."""
        place = self.layer.next_missing(place)
        while 0 <= place < end and place in self._flights:
            place = self.layer.next_missing(place + 1)
        return place if place < end else -1

    def _span_end(self, start: int, most: int) -> int:
        """Where a flight ends that begins at a place: the first chunk that need not come."""
        end = start + 1
        last = min(start + min(most, MOST_IN_FLIGHT), len(self.layer.chunks))
        while end < last and not self.layer.has(end) and end not in self._flights:
            end += 1
        return end

    # What nobody waits for.

    @property
    def is_read_through(self) -> bool:
        """Whether somebody reads one chunk after the other, and has for some time."""
        return self._ahead == _MOST_AHEAD

    @property
    def has_free(self) -> bool:
        """Whether anything is neither here nor under way."""
        return self._next_free(0, len(self.layer.chunks)) >= 0

    def next_ordered(self) -> range | None:
        """The next chunks that a first run has used, None if all of those are here or under way."""
        while self._ordered:
            run = self._ordered[-1]
            start = self._next_free(run.start, run.stop)
            if start >= 0:
                return range(start, run.stop)
            self._ordered.pop()
        return None

    async def fetch_next(self, places: range | None = None) -> None:
        """Fetch what is missing of some chunks, with one request as long as a reader may wait.

        Raises:
            OSError: it does not come.
        """
        places = range(len(self.layer.chunks)) if places is None else places
        start = self._next_free(places.start, places.stop)
        if start < 0:
            return
        end = min(self._span_end(start, self._most_in_rest), places.stop)
        began = trio.current_time()
        flight = self._begin(start, end)
        while not flight.is_over:
            await flight.arrived.wait()
        if flight.failure is not None:
            raise flight.failure
        each_s = (trio.current_time() - began) / (end - start)
        self._most_in_rest = max(1, min(MOST_IN_FLIGHT, round(_LONGEST_REST_S / (each_s + 1e-6))))

    def _begin(self, start: int, end: int) -> Flight:
        flight = Flight(start, end)
        for place in range(start, end):
            self._flights[place] = flight
        self._nursery.start_soon(self._fly, flight)
        return flight

    async def _fly(self, flight: Flight) -> None:
        try:
            await self._fetch_from_any(flight)
        except OSError as error:  # no room on the disk, too
            flight.failure = error
        finally:
            for place in range(flight.start, flight.end):
                self._flights.pop(place, None)
            flight.is_over = True
            flight.arrived.set()

    async def _fetch_from_any(self, flight: Flight) -> None:
        """Ask one source after the other for what has not come yet."""
        failure: OverlayError = Unavailable(str(self.layer.diff_id), "no source")
        for source in self._sources:
            start = self.layer.next_missing(flight.start)
            if not 0 <= start < flight.end:
                return None
            try:
                return await self._fetch(source, flight, start)
            except OverlayError as error:
                failure = error
        raise failure

    async def _fetch(self, source: Repository, flight: Flight, start: int) -> None:
        chunks = self.layer.chunks
        end = flight.end
        gathered = bytearray()
        wanted = ByteRange(source, self._blob, chunks[start].start, chunks[end - 1].end)
        async with AsyncExitStack() as opened:
            with self._not_stalled(source):
                stream = await opened.enter_async_context(wanted)
            for place in range(start, end):
                size = chunks[place].end - chunks[place].start
                while len(gathered) < size:
                    with self._not_stalled(source):
                        gathered += await stream.receive_some()
                if not self.layer.put(place, bytes(gathered[:size])):
                    what = f"{source.name}@{self._blob.digest}"
                    number = chunks[place].number
                    raise WrongChunk(what, f"{source.host.domain}: wrong bytes for chunk {number}")
                del gathered[:size]
                self._flights.pop(place, None)
                arrived, flight.arrived = flight.arrived, trio.Event()
                arrived.set()

    @contextmanager
    def _not_stalled(self, source: Repository) -> Iterator[None]:
        """Give up in time for a reader to be asked for it again, who has waited from the start."""
        with trio.move_on_after(self._stall_s) as scope:
            yield
        if scope.cancelled_caught:
            why = f"{source.host.domain}: nothing came for {self._stall_s:g} s"
            raise Unavailable(f"{source.name}@{self._blob.digest}", why)


def _runs(places: Sequence[int]) -> list[range]:
    """Chunks that follow each other as one range each, those that were used first last."""
    runs: list[range] = []
    for place in sorted(places):
        if runs and place - runs[-1].stop <= 1:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    when = {place: at for at, place in enumerate(places)}
    first = {run: min(when[place] for place in run if place in when) for run in runs}
    return sorted(runs, key=first.__getitem__, reverse=True)
