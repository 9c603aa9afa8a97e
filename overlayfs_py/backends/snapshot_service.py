"""The snapshots as a gRPC service on a Unix socket: the only place that knows gRPC.

gRPC has threads of its own. Each request hands its work to trio's thread and waits for it there,
in `_Answers._run`, and nowhere else do the two meet.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple

import grpc
import trio

from overlayfs_py.backends.snapshot_failures import Class, Refused
from overlayfs_py.backends.snapshot_messages import KIND_NUMBERS, METHODS, SERVICE, message
from overlayfs_py.errors import Failure, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from overlayfs_py.backends.snapshot_mounts import Mount
    from overlayfs_py.backends.snapshot_records import SnapshotRecord
    from overlayfs_py.backends.snapshotter import Snapshotter

_CODES = {
    Class.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Class.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Class.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Class.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
}
_THREADS = 32  # requests at once; each but waits
_GRACE_S = 10.0  # for requests that are being answered when the server ends
_PIECE = 100  # snapshots in one answer of List
_LONGEST_SOCKET = 107  # bytes of a path: sun_path

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Given = TypeVarTuple("Given")


class Request(Protocol):
    """The fields of all requests; each has some of them."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def filters(self) -> Sequence[str]: ...
    @property
    def info(self) -> Request: ...
    @property
    def update_mask(self) -> FieldMask: ...


class FieldMask(Protocol):
    """Which fields an update is about."""

    @property
    def paths(self) -> Sequence[str]: ...


async def serve(
    snapshotter: Snapshotter,
    address: Path,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; what is being answered then is answered.

    It has started once the socket, which only its owner may use, takes requests.

    Raises:
        Failure: there can be no such socket.
    """
    answers = _Answers(snapshotter, trio.lowlevel.current_trio_token())
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
    server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handler(answers),))
    _listen(server, address)
    server.start()
    try:
        task_status.started()
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(server.stop(_GRACE_S).wait)
        threads.shutdown()


def _listen(server: grpc.Server, address: Path) -> None:
    path = os.fspath(address)
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise Failure(f"{path}: longer than the name of a socket may be")
    try:
        address.parent.mkdir(0o711, parents=True, exist_ok=True)
        _unlink_unused(address)
        mask = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{path}")
        finally:
            os.umask(mask)
    except RuntimeError:
        raise Failure(f"{path}: cannot be listened at") from None


def _unlink_unused(address: Path) -> None:
    """Remove the socket of a server that was killed."""
    if not address.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        if sock.connect_ex(os.fspath(address)) == errno.ECONNREFUSED:
            address.unlink()
        else:  # also where too many wait for it
            raise Failure(f"{address}: another process listens there")


def _handler(answers: _Answers) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: (
                grpc.unary_stream_rpc_method_handler
                if method.stream
                else grpc.unary_unary_rpc_method_handler
            )(
                getattr(answers, name.lower()),
                request_deserializer=message(method.request).FromString,
                response_serializer=message(method.response).SerializeToString,
            )
            for name, method in METHODS.items()
        },
    )


class _Answers:
    """What each call answers; methods run in gRPC's threads."""

    def __init__(self, snapshotter: Snapshotter, token: trio.lowlevel.TrioToken) -> None:
        self._snapshotter = snapshotter
        self._token = token

    def prepare(self, request: Request, context: grpc.ServicerContext) -> Message:
        mounts = self._ask(
            context, self._snapshotter.prepare, request.key, request.parent, dict(request.labels)
        )
        return message("PrepareSnapshotResponse")(mounts=map(_mount, mounts))

    def view(self, request: Request, context: grpc.ServicerContext) -> Message:
        mounts = self._ask(
            context, self._snapshotter.view, request.key, request.parent, dict(request.labels)
        )
        return message("ViewSnapshotResponse")(mounts=map(_mount, mounts))

    def mounts(self, request: Request, context: grpc.ServicerContext) -> Message:
        mounts = self._ask(context, self._snapshotter.mounts, request.key)
        return message("MountsResponse")(mounts=map(_mount, mounts))

    def commit(self, request: Request, context: grpc.ServicerContext) -> Message:
        self._wait_for(
            context,
            self._snapshotter.commit,
            *(request.name, request.key, request.parent, dict(request.labels)),
        )
        return message("Empty")()

    def remove(self, request: Request, context: grpc.ServicerContext) -> Message:
        self._wait_for(context, self._snapshotter.remove, request.key)
        return message("Empty")()

    def stat(self, request: Request, context: grpc.ServicerContext) -> Message:
        found = self._ask(context, self._snapshotter.stat, request.key)
        return message("StatSnapshotResponse")(info=_info(*found))

    def update(self, request: Request, context: grpc.ServicerContext) -> Message:
        found = self._ask(
            context,
            self._snapshotter.update,
            *(request.info.name, dict(request.info.labels), list(request.update_mask.paths)),
        )
        return message("UpdateSnapshotResponse")(info=_info(*found))

    def list(self, request: Request, context: grpc.ServicerContext) -> Iterator[Message]:
        found = self._ask(context, self._snapshotter.listed, list(request.filters))
        for at in range(0, len(found), _PIECE):
            piece = [_info(*each) for each in found[at : at + _PIECE]]
            yield message("ListSnapshotsResponse")(info=piece)

    def usage(self, request: Request, context: grpc.ServicerContext) -> Message:
        used = self._wait_for(context, self._snapshotter.usage, request.key)
        return message("UsageResponse")(size=used.size, inodes=used.inodes)

    def cleanup(self, request: Request, context: grpc.ServicerContext) -> Message:
        self._wait_for(context, self._snapshotter.cleanup)
        return message("Empty")()

    def _ask(
        self,
        context: grpc.ServicerContext,
        call: Callable[[*Given], Answer],
        *given: *Given,
    ) -> Answer:
        """Return what a method of the snapshotter answers at once."""
        with _told_to(context):
            return trio.from_thread.run_sync(call, *given, trio_token=self._token)

    def _wait_for(
        self,
        context: grpc.ServicerContext,
        call: Callable[[*Given], Awaitable[Answer]],
        *given: *Given,
    ) -> Answer:
        """Return what a method of the snapshotter answers after a while."""
        with _told_to(context):
            return trio.from_thread.run(call, *given, trio_token=self._token)


@contextmanager
def _told_to(context: grpc.ServicerContext) -> Iterator[None]:
    """Let containerd know what is raised, in its own classes."""
    try:
        yield
    except Refused as refusal:
        context.abort(_CODES[refusal.kind], refusal.message)
    except (trio.Cancelled, trio.RunFinishedError):
        context.abort(grpc.StatusCode.UNAVAILABLE, "the snapshotter is ending")
    except OSError as error:
        _log.error("%s", describe(error))
        context.abort(grpc.StatusCode.UNKNOWN, describe(error))


def _mount(mount: Mount) -> Message:
    return message("Mount")(type=mount.kind, source=mount.source, options=mount.options)


def _info(record: SnapshotRecord, parent: str) -> Message:
    return message("Info")(
        name=record.name,
        parent=parent,
        kind=KIND_NUMBERS[record.kind.value],
        created_at=_time(record.created_ns),
        updated_at=_time(record.updated_ns),
        labels=record.labels,
    )


def _time(nanoseconds: int) -> dict[str, int]:
    return dict(zip(("seconds", "nanos"), divmod(nanoseconds, 10**9), strict=True))
