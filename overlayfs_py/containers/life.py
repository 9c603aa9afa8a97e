"""Starting, stopping and removing containers, whoever started them."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.containers import door, monitor, state, user_namespace
from overlayfs_py.containers.frames import Frame, FrameReader, Kind
from overlayfs_py.containers.launch import Launch
from overlayfs_py.containers.state import NotRunning as NotRunning  # callers catch it
from overlayfs_py.containers.state import Status
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.store.containers import MountKind
from overlayfs_py.store.failures import InUse, NotInStore
from overlayfs_py.store.layers import size_on_disk

if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Iterator

    from overlayfs_py.containers.state import State
    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_CHUNK_BYTES = 1 << 16


def start(
    store: Store,
    record: ContainerRecord,
    callers_fds: frozenset[int],
    first_client: socket.socket | None = None,
    mask: set[int] | None = None,
) -> Child:
    """Start a container; wait for `ready`, which raises what went wrong.

    To be called while there is one thread. `callers_fds` are the descriptors that the container's
    monitor is not to keep; `first_client` is its end of a connection that is attached first,
    `mask` the command's signal mask where the caller has blocked signals.

    Raises:
        NotInStore: a layer of its image has gone.
    """
    layers = store.containers.use_layers(record)
    directory = store.containers.directory(record.id)
    launch = Launch(record, directory, layers.lower, store.containers, store.volumes)

    def finish() -> None:
        if record.auto_remove:
            _remove_here(store, record, with_volumes=True)

    # The monitor inherits what keeps the layers; here it goes with the process.
    return monitor.start(launch, first_client, callers_fds, mask, finish)


def state_of(store: Store, record: ContainerRecord) -> State:
    """What a container is doing."""
    return state.read(store.containers.directory(record.id))


def stop(
    store: Store, record: ContainerRecord, number: signal.Signals, timeout_s: float | None
) -> None:
    """Ask a container to end, kill it after `timeout_s`, and wait for its end.

    None means the container's own patience, less than 0 none at all. One that does not run is
    stopped already.
    """
    request: dict[str, object] = {"do": "stop", "signal": int(number), "timeout": timeout_s}
    with suppress(NotRunning):
        ask(store, record, request)
    # One that has just ended by itself, too: until its monitor is gone it cannot be removed.
    _wait_for_lock(store, record)


def first_process(store: Store, record: ContainerRecord) -> int:
    """Return the pid of a container's first process.

    Raises:
        NotRunning: it does not run.
    """
    first = state_of(store, record).pid
    if not first:
        raise NotRunning(record.name)
    return first


def restart(
    store: Store, record: ContainerRecord, number: signal.Signals, timeout_s: float | None
) -> None:
    """Ask a container's command to end, kill it after `timeout_s`, and start it again.

    Raises:
        NotRunning: it does not run.
        Failure: it cannot be started again.
    """
    ask(store, record, {"do": "restart", "signal": int(number), "timeout": timeout_s})


def pause(store: Store, record: ContainerRecord) -> None:
    """Stop a container's processes where they are.

    Raises:
        NotRunning: there are none.
        Failure: they are stopped already.
    """
    ask(store, record, {"do": "pause"})


def unpause(store: Store, record: ContainerRecord) -> None:
    """Let a paused container's processes go on.

    Raises:
        Failure: it is not paused.
    """
    ask(store, record, {"do": "unpause"})


@contextmanager
def held(store: Store, record: ContainerRecord) -> Iterator[None]:
    """Have a container's processes stand still meanwhile, if it runs and they do not already.

    They go on as well where this process is killed.
    """
    if state_of(store, record).status is not Status.RUNNING:
        yield
        return
    try:
        connection = connect(store, record)
    except NotRunning:
        yield
        return
    with connection as sock:
        request(sock, {"do": "hold"})
        with suppress(NotRunning):
            answer(sock, record)
        yield


def kill(store: Store, record: ContainerRecord, number: signal.Signals) -> None:
    """Send a signal to a container's first process.

    Raises:
        NotRunning: there is none.
    """
    ask(store, record, {"do": "signal", "number": int(number)})


def reset(store: Store, record: ContainerRecord) -> None:
    """Throw away what a running container has changed of its image's files.

    Raises:
        NotRunning: it does not run.
    """
    ask(store, record, {"do": "reset"})


def ask(store: Store, record: ContainerRecord, asked: dict[str, object]) -> dict[str, object]:
    """Have a container's monitor do something; returns its answer.

    Raises:
        Failure: it was not done.
        NotRunning: there is none.
    """
    with connect(store, record) as sock:
        request(sock, asked)
        return answer(sock, record)


def wait(store: Store, record: ContainerRecord) -> int:
    """Wait until a container does not run, and return its last exit status."""
    try:
        answered = ask(store, record, {"do": "wait"})
    except NotRunning:
        _wait_for_lock(store, record)
        return state_of(store, record).exit_code
    _wait_for_lock(store, record)
    return int(str(answered["exit_code"]))


def remove(store: Store, record: ContainerRecord, *, with_volumes: bool = False) -> None:
    """Remove a container that does not run, with all that it wrote.

    Raises:
        InUse: it runs.
    """
    if user_namespace.may_mount():
        _remove_here(store, record, with_volumes=with_volumes)
        return

    def work(report: Report) -> None:
        # Files of the container's other users can be removed there only.
        user_namespace.enter()
        _remove_here(store, record, with_volumes=with_volumes)
        report.ready()

    child = children.start(work)
    child.ready()
    child.wait()


def remove_volume(store: Store, name: str) -> int:
    """Remove a volume with what is in it; returns how many bytes of the disk that gives back.

    Raises:
        NotInStore: it is not there.
        InUse: a container has it.
    """
    if store.volumes.users(name):
        store.volumes.remove(name)  # which says so
    if user_namespace.may_mount():
        return _remove_volume_here(store, name)

    def work(report: Report) -> None:
        # Files of containers' other users can be removed, and looked at, there only.
        user_namespace.enter()
        report.ready(b"%d" % _remove_volume_here(store, name))

    child = children.start(work)
    freed = int(child.ready())
    child.wait()
    return freed


def _remove_volume_here(store: Store, name: str) -> int:
    place = store.volumes.place(name)
    size = size_on_disk(place.path) if place.is_own else 0
    store.volumes.remove(name)
    return size


def attach(store: Store, record: ContainerRecord) -> socket.socket:
    """Return a connection that a container's output comes from.

    Raises:
        NotRunning: it does not run.
    """
    sock = connect(store, record)
    request(sock, {"do": "attach"})
    return sock


def request(sock: socket.socket, asked: dict[str, object]) -> None:
    """Send a connection's request; a monitor that has gone is found out by reading the answer."""
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(Frame(Kind.REQUEST, json.dumps(asked).encode()).encode())


def answer(sock: socket.socket, record: ContainerRecord) -> dict[str, object]:
    """Read the answer to a connection's request.

    Raises:
        Failure: the monitor did not do it.
        NotRunning: the monitor has gone meanwhile.
    """
    for frame in _frames(sock):
        if frame.kind is Kind.ANSWER:
            found: dict[str, object] = json.loads(frame.body)
            if "error" in found:
                raise Failure(str(found["error"]))
            return found
    raise NotRunning(record.name)


def connect(store: Store, record: ContainerRecord) -> socket.socket:
    """Connect to a container's monitor.

    Raises:
        NotRunning: there is none.
    """
    directory = store.containers.directory(record.id)
    try:
        return door.connect(directory)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(record.name) from None


def _frames(sock: socket.socket) -> Iterator[Frame]:
    reader = FrameReader()
    # A monitor that closes its door resets the connections that it has not accepted.
    with suppress(ConnectionResetError):
        while data := sock.recv(_CHUNK_BYTES):
            yield from reader.feed(data)


def _wait_for_lock(store: Store, record: ContainerRecord) -> None:
    """Wait until a container's monitor has cleaned up, too."""
    store.containers.wait_until_free(record)


def _remove_here(store: Store, record: ContainerRecord, *, with_volumes: bool) -> None:
    state_of(store, record)  # which cleans up after a monitor that was killed
    try:
        store.containers.remove(record)
    except FileNotFoundError:
        return  # another process was quicker
    if with_volumes:
        for mount in record.mounts:
            if mount.kind is MountKind.VOLUME and mount.anonymous:
                try:
                    store.volumes.remove(mount.source)
                except (NotInStore, InUse, FileNotFoundError):  # gone, or another container's too
                    continue
