"""Serve a union by speaking the kernel's protocol on /dev/fuse ourselves.

One task drains the device and answers inline whatever is bounded; what may take long runs in a
task of its own and answers when it is done. So one slow request never holds up the others.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from overlayfs_py.drivers.callers import is_being_killed
from overlayfs_py.drivers.direct_device import TELL_AFTER_MS, AnswerRefused, Device
from overlayfs_py.drivers.direct_handlers import handlers_of
from overlayfs_py.drivers.direct_operations import OPENED, DirectOperations
from overlayfs_py.drivers.direct_start import Announcement, Door, answer_first
from overlayfs_py.drivers.errnos import BugLog, errno_of
from overlayfs_py.drivers.idle_polling import IdlePolling, Wakefulness
from overlayfs_py.drivers.mounting import IoMode
from overlayfs_py.drivers.outdated import Outdated
from overlayfs_py.drivers.passthrough import BackingFiles, PassthroughOperations
from overlayfs_py.drivers.request_counts import RequestCounts
from overlayfs_py.drivers.uses import Uses
from overlayfs_py.late_import import LateModule
from overlayfs_py.wire import replies, requests
from overlayfs_py.wire.errors import WireError
from overlayfs_py.wire.protocol import HEADER_ROOM, InitFlag, Opcode
from overlayfs_py.wire.requests import HEADER_SIZE, Features
from overlayfs_py.wire.session import LATCHES, Session, Wishes, negotiate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    import trio

    from overlayfs_py.drivers.direct_lanes import DirectLanes
    from overlayfs_py.drivers.direct_shared import Answer
    from overlayfs_py.drivers.direct_start import PostponedTasks, Tasks
    from overlayfs_py.drivers.mounting import Mounted
    from overlayfs_py.union.core import Union
    from overlayfs_py.wire.requests import Body, Header

    Handler = Callable[[Header, Body], Answer]
else:
    trio = LateModule("trio")

log = logging.getLogger(__name__)

# Between two checkpoints, in which signals and finished threads are heard: guess, bounded so that
# a burst of requests delays them by a millisecond or two.
_BURST = 32
# Guess: how long one may have to wait for the end of a process that was killed after some other
# signal, since the kernel tells of the first one alone.
_LOOK_AGAIN_S = 0.1
# Guess: for the volumes that do answer, if late.
_PATIENCE_S = 2.0
_DATA = (bytes, memoryview)  # an answer that is there; a union of types would be made each time
_SHORT = 4096  # bytes of an answer that are copied behind its header sooner than written beside it
_OF_OPEN_FILES = frozenset(
    {
        Opcode.READ,
        Opcode.WRITE,
        Opcode.FSYNC,
        Opcode.RELEASE,
        Opcode.READDIR,
        Opcode.READDIRPLUS,
        Opcode.FSYNCDIR,
        Opcode.RELEASEDIR,
    }
)


def run(
    union: Union, mounted: Mounted, on_ready: Callable[[], None], noted: Collection[int]
) -> None:
    """Answer requests until the mount is gone or a signal says so; closes `mounted.fd`.

    Signals in `noted` have come already, or come before they can be heard.
    """
    server = _server_kind()(union, mounted)
    announcement = Announcement(mounted, on_ready)
    try:
        postponed = answer_first(server, mounted.fd, noted)
    except BaseException:
        os.close(mounted.fd)  # which ends the wait of that thread
        raise
    if server.has_ended and not postponed:
        server.wakefulness.rest()
        os.close(mounted.fd)
        announcement.finish()
    else:
        trio.run(_serve, server, mounted, announcement, postponed, noted)
    if server.broken is not None:
        raise server.broken


def _server_kind() -> type[Server]:
    if not log.isEnabledFor(logging.DEBUG):
        return Server
    from overlayfs_py.drivers.direct_trace import TracedServer

    return TracedServer


async def _serve(
    server: Server,
    mounted: Mounted,
    announcement: Announcement,
    postponed: PostponedTasks,
    noted: Collection[int],
) -> None:
    # Here, since it asks something of trio already when it is loaded.
    from overlayfs_py.drivers import inquiries
    from overlayfs_py.drivers.supervision import report_on_signal, unmount_on_signal

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(unmount_on_signal, mounted, server.stop)
            await nursery.start(report_on_signal, server.report)
            for number in noted:
                signal.raise_signal(number)
            nursery.start_soon(trio.to_thread.run_sync, announcement.finish)
            if mounted.door_fd is not None:
                from overlayfs_py.drivers import direct_door

                nursery.start_soon(direct_door.heed, server, mounted.door_fd, mounted.target)
            nursery.start_soon(inquiries.heed, mounted, server.begin_counting, server.end_counting)
            try:
                await server.run(postponed)
            finally:
                # What waits in a thread for an answer of ours gets one: ENOTCONN.
                server.close()
            nursery.cancel_scope.cancel()
    finally:
        server.close()


class Server:
    """One session on the device."""

    device_kind: type[Device] = Device

    def __init__(self, union: Union, mounted: Mounted) -> None:
        os.set_blocking(mounted.fd, False)
        self._fd: int | None = mounted.fd
        self._wishes = Wishes(
            foreign_changes=union.has_volumes,
            passthrough=mounted.io is IoMode.PASSTHROUGH,
            writeback=mounted.writeback,
            lookups=mounted.uses.exact,
        )
        self.wakefulness = mounted.wakefulness or Wakefulness(IdlePolling.OFF)
        self._device = self.device_kind(
            mounted.fd, self._wishes.max_write + HEADER_ROOM, self.wakefulness
        )
        self._served = {0, os.geteuid()} if mounted.denies_others else None
        self._union = union
        self._notes_callers = union.has_volumes
        self._backing: BackingFiles | None = None
        self._operations = self._make_operations(mounted)
        self._lanes = self._make_lanes()
        self._handlers = handlers_of(self._operations)
        doors = [fd for fd in (mounted.door_fd, mounted.inquiry_fd) if fd is not None]
        self.doors = [Door(fd) for fd in doors]
        self._has_owner = mounted.door_fd is not None
        self._counting: list[RequestCounts] = []
        self._uncounted: dict[int, Handler] = {}
        self.outdated = Outdated(union, self._tell_outdated)
        if mounted.writeback:
            # What the kernel has not written yet would be a hole. Refused, it takes all for data.
            del self._handlers[Opcode.LSEEK]
        if mounted.io is not IoMode.PASSTHROUGH and not union.has_volumes:
            # Refused, the kernel sends MKNOD and opens by itself, without a RELEASE at the close.
            # In a volume somebody else may create the file in between, and MKNOD would fail.
            del self._handlers[Opcode.CREATE]
        self._bugs = BugLog()
        self._features = Features()
        self._session: Session | None = None
        # By `unique`, from before the task runs (an INTERRUPT may be the next message) until its
        # end.
        self._waiting: dict[int, _Waiting] = {}
        self.broken: WireError | None = None  # what `run` ended for
        # Which end before the descriptor is closed; none from when the loop has ended.
        self.tasks: trio.Nursery | None = None
        # Requests by opcode, for tests and benchmarks: messages are what a mount costs.
        self.messages: Counter[int] = Counter()

    def _make_operations(self, mounted: Mounted) -> DirectOperations:
        if mounted.io is not IoMode.PASSTHROUGH:
            return DirectOperations(self._union, self._device.answer, mounted.uses)
        self._backing = BackingFiles(self._union, mounted.fd)
        return PassthroughOperations(self._union, self._device.answer, mounted.uses, self._backing)

    def _make_lanes(self) -> DirectLanes | None:
        """None where no volume is slow, as nearly always: then nothing of it is loaded."""
        if not self._union.slow_volumes():
            return None
        from overlayfs_py.drivers.direct_lanes import DirectLanes

        uses = Uses()  # a volume's files are none of a layer's
        return DirectLanes(
            self._union, lambda union: DirectOperations(union, self._device.answer, uses)
        )

    def _tell_outdated(self, number: int) -> None:
        self._device.answer(replies.attributes_changed(number))

    @property
    def needed_later(self) -> tuple[str, ...]:
        """The modules that no request needs but what comes by the door."""
        return ("overlayfs_py.drivers.direct_door",) if self._has_owner else ()

    @property
    def union(self) -> Union:
        """What is served."""
        return self._union

    @property
    def is_busy(self) -> bool:
        """Whether something is under way beside the loop; slow volumes are others' business."""
        return any(not waiting.in_lane for waiting in self._waiting.values())

    def tell(self, message: bytes) -> None:
        """Send the kernel what answers nothing; it may have forgotten what that is about."""
        self._device.answer(message)

    def stop(self) -> None:
        """Leave the loop."""
        self._stopping.cancel()

    @cached_property
    def _stopping(self) -> trio.CancelScope:
        return trio.CancelScope()

    def report(self) -> None:
        """Log in one line of JSON how many requests of each kind came, and the nodes kept."""
        import json  # for this alone; `direct_start` has loaded it

        counts = {name_of(opcode): count for opcode, count in self.messages.most_common()}
        # As a warning: whoever sends the signal wants to see it, whatever else is logged.
        log.warning(json.dumps({"messages": counts, "nodes": self._union.known_nodes()}))

    def begin_counting(self) -> RequestCounts:
        """Count requests by process from now on; the handlers are others meanwhile."""
        counts = RequestCounts(name_of)
        self._counting.append(counts)
        if len(self._counting) == 1:
            self._uncounted = dict(self._handlers)
            for opcode, handler in self._uncounted.items():
                self._handlers[opcode] = self._counted(opcode, handler)
        return counts

    def end_counting(self, counts: RequestCounts) -> None:
        """Count no more for one who has asked."""
        self._counting.remove(counts)
        if not self._counting:
            self._handlers.update(self._uncounted)

    def _counted(self, opcode: int, handler: Handler) -> Handler:
        def count_and_answer(header: Header, body: Body) -> Answer:
            for counts in self._counting:
                counts.note(header.pid, opcode)
            return handler(header, body)

        return count_and_answer

    def close(self) -> None:
        """Close the descriptor; whoever still waits for an answer is told that we are gone."""
        self.wakefulness.rest()
        if self._fd is not None:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = None

    @property
    def has_ended(self) -> bool:
        """Whether the mount is gone, or something came that is no message."""
        return self._device.gone or self.broken is not None

    async def run(self, postponed: PostponedTasks | None = None) -> None:
        """Answer until the mount is gone or `stop` is called; tasks under way end first.

        `postponed` are some from before. A message that is none ends the session too, and is left
        in `broken`.
        """
        self._operations.early_bytes = 0
        async with trio.open_nursery() as tasks:
            self.tasks = tasks
            if postponed is not None:
                postponed.start_in(tasks)
            with self._stopping:
                try:
                    await self._answer_all(tasks)
                except WireError as error:
                    self.broken = error
            self.tasks = None
            await self._leave_lanes()

    async def _leave_lanes(self) -> None:
        """Give what waits for slow volumes some time, and then up: the mount is gone."""
        with trio.move_on_after(_PATIENCE_S):
            while any(waiting.in_lane for waiting in self._waiting.values()):
                await trio.sleep(_LOOK_AGAIN_S)
        for waiting in self._waiting.values():
            if waiting.in_lane:
                waiting.scope.cancel()

    async def _answer_all(self, tasks: trio.Nursery) -> None:
        while not self.has_ended:
            if self.drain(tasks):
                await trio.lowlevel.checkpoint()
            else:
                await self._device.wait(self.outdated)

    def drain(self, tasks: Tasks) -> bool:
        """Answer what is there, up to a burst; False where the device has run dry."""
        device = self._device
        self.wakefulness.heed(device.requests)
        for _ in range(_BURST):
            message = device.poll()
            if message is None:
                return device.gone
            self._take(message, tasks)
        return True

    def _take(self, message: memoryview, tasks: Tasks) -> None:
        header = requests.parse_header(message)
        self.messages[header.opcode] += 1
        body = requests.parse_body(header.opcode, message[HEADER_SIZE:], self._features)
        handler = self._handlers.get(header.opcode)
        if handler is None or body is None:
            self._take_control(header, body, tasks)
            return
        if self._served is not None and self._is_turned_away(header):
            self._device.answer(replies.failure(header.unique, errno.EACCES))
            return
        if self._lanes is not None and self._took_lane(self._lanes, header, body, tasks):
            return
        if self._notes_callers:
            self._union.note_caller(header)
        try:
            answer = handler(header, body)
        except Exception as error:
            self._fail(header, error)
            return
        if isinstance(answer, _DATA):
            self._answer(header, answer)
        elif isinstance(answer, int):
            self._device.answer(replies.failure(header.unique, answer))
        else:
            waiting = self._waiting[header.unique] = _Waiting(header.pid)
            tasks.start_soon(self._finish, header, waiting, answer)

    def _took_lane(self, lanes: DirectLanes, header: Header, body: Body, tasks: Tasks) -> bool:
        try:
            answer = lanes.answer(header, body)
        except Exception as error:
            self._fail(header, error)
            return True
        if answer is not None:
            waiting = self._waiting[header.unique] = _Waiting(header.pid, in_lane=True)
            tasks.start_soon(self._finish, header, waiting, answer)
        return answer is not None

    def _is_turned_away(self, header: Header) -> bool:
        """Whether only the mounting user and root are served, and this is neither.

        What is open stays usable by whom it was handed to, as with libfuse.
        """
        assert self._served is not None
        return header.uid not in self._served and header.opcode not in _OF_OPEN_FILES

    def _answer(self, header: Header, payload: bytes | memoryview) -> None:
        try:
            if isinstance(payload, bytes) and len(payload) <= _SHORT:
                self._device.answer(replies.answer(header.unique, payload))
            else:
                self._device.answer_data(replies.head(header.unique, len(payload)), payload)
        except AnswerRefused as refusal:
            self._fail(header, refusal)

    def _fail(self, header: Header, error: Exception) -> None:
        self._bugs.note(error, name_of(header.opcode))
        self._device.answer(replies.failure(header.unique, errno_of(error)))

    async def _finish(self, header: Header, waiting: _Waiting, answer: Awaitable[bytes]) -> None:
        """Wait for an answer and give it, unless its caller was killed meanwhile."""
        with waiting.scope as scope:
            try:
                payload = await answer
            except Exception as error:
                if not scope.cancel_called:
                    self._fail(header, error)
            else:
                if not scope.cancel_called:
                    self._answer(header, payload)
            finally:
                del self._waiting[header.unique]
        if self.outdated:
            # The loop may have gone to sleep before there was something to tell.
            await trio.sleep(TELL_AFTER_MS / 1000)
            self.outdated.tell()

    async def _heed(self, unique: int) -> None:
        """End the request `unique` once its caller is being killed; it gets its answer at once.

        Any other signal leaves it alone, as in kernel overlayfs: programs do not expect EINTR of a
        regular file, and the signals that runtimes send themselves would hit every large copy-up.
        """
        while unique in self._waiting:
            waiting = self._waiting[unique]
            if is_being_killed(waiting.pid):
                # What is under way in a thread goes on; the change that waits for it is not made.
                waiting.scope.cancel()
                self._device.answer(replies.failure(unique, errno.EINTR))
                return
            await trio.sleep(_LOOK_AGAIN_S)

    # Requests about the session itself.

    def _take_control(self, header: Header, body: Body | None, tasks: Tasks) -> None:
        if isinstance(body, requests.Forgotten):
            self._forget(header, body)
        elif isinstance(body, requests.Interrupt):
            if body.unique in self._waiting:
                tasks.start_soon(self._heed, body.unique)
        elif isinstance(body, requests.Init):
            self._begin(header, body)
        elif header.opcode == Opcode.DESTROY:
            self._answer(header, b"")
        elif self._must_open(header.opcode):
            self._answer(header, OPENED)
        else:
            assert header.opcode in LATCHES or body is None
            self._device.answer(replies.failure(header.unique, errno.ENOSYS))

    def _must_open(self, opcode: int) -> bool:
        """Whether an old kernel would take ENOSYS for an error; the handle means nothing."""
        flags = InitFlag(0) if self._session is None else self._session.flags
        if opcode == Opcode.OPEN:
            return not flags & InitFlag.NO_OPEN_SUPPORT
        return opcode == Opcode.OPENDIR and not flags & InitFlag.NO_OPENDIR_SUPPORT

    def _forget(self, header: Header, body: requests.Forgotten) -> None:
        try:
            if self._lanes is not None:
                body = self._lanes.forget(header, body)
            self._operations.forget(header, body)
        except Exception as error:
            self._bugs.note(error, "FORGET")  # it has no answer that could carry the error

    def _begin(self, header: Header, offer: requests.Init) -> None:
        agreement = negotiate(offer, self._wishes)
        self._answer(header, agreement.payload)
        if agreement.session is not None:
            self._session = agreement.session
            self._features = agreement.session.features
            writeback = bool(agreement.session.flags & InitFlag.WRITEBACK_CACHE)
            self._operations.kernel_keeps_times = writeback
            self._allow_passthrough(bool(agreement.session.flags & InitFlag.PASSTHROUGH))

    def _allow_passthrough(self, agreed: bool) -> None:
        if self._backing is not None:
            self._backing.allowed = agreed
            if not agreed:
                log.warning("io=passthrough needs root and Linux 6.9; going on with io=cached")


class _Waiting:
    """A request whose answer takes long: who waits for it, and what cancels it."""

    def __init__(self, pid: int, *, in_lane: bool = False) -> None:
        self.pid = pid
        self.in_lane = in_lane  # for something that may never come

    @cached_property
    def scope(self) -> trio.CancelScope:
        """Made by the first task that needs it: there is no trio yet where a request may come."""
        return trio.CancelScope()


def name_of(opcode: int) -> str:
    """Return what a kind of request is called in reports and logs."""
    try:
        return Opcode(opcode).name.lower()
    except ValueError:  # of a newer protocol than ours
        return f"opcode {opcode}"
