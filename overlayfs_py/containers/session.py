"""One more command in a container that runs: `exec`.

Plan: the caller forks a process that stays outside the container, in the host's mounts, and
outlives the caller. It takes the rights that entering needs, and forks the command's process into
the container's pid namespace; that enters the other namespaces, closes what leads out, and becomes
the command. Until then what /proc shows of it inside is hidden: its files and its root are the
host's (CVE-2019-5736, CVE-2024-21626). The process outside reaps the command, since a pid
namespace cannot end before all of it is reaped (kernel/pid_namespace.c, zap_pid_ns_processes); the
kernel ends the command with the container, and with the process outside.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from overlayfs_py.containers import cgroup, command, process, signals, streams
from overlayfs_py.containers.door import Client
from overlayfs_py.containers.entrance import open_entrance
from overlayfs_py.containers.event_loop import READABLE, EventLoop
from overlayfs_py.containers.frames import BadFrame, Frame, Kind, number_frame, number_in, size_in
from overlayfs_py.containers.process import CANNOT_RUN, NOT_FOUND, Terminal
from overlayfs_py.containers.state import NotRunning
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children, daemon
from overlayfs_py.syscalls import namespaces, terminals

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.containers.entrance import Entrance
    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.rights import Rights
    from overlayfs_py.containers.streams import Ends, Streams
    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_STDIO = (0, 1, 2)
_LAST_OUTPUT_S = 2.0  # for pipes that what the command left behind holds; docker's
_LAST_CLIENT_S = 10.0  # for a client that does not read what is left


class Extra(NamedTuple):
    """A command to be run in a container that runs."""

    record: ContainerRecord
    process: Process
    rights: Rights
    tty: bool = False
    size: tuple[int, int] | None = None  # rows and columns of its terminal
    stdin_open: bool = False


def start(
    store: Store,
    extra: Extra,
    client: socket.socket | None,
    callers_fds: frozenset[int],
    mask: set[int] | None,
) -> Child:
    """Start the command; wait for `ready`, which raises what went wrong.

    To be called while there is one thread. `client` is the session's end of a connection that is
    to see the output, `mask` the command's signal mask where the caller has blocked signals.
    """

    def serve(on_ready: Callable[[], None]) -> None:
        own_mask = signals.block()
        Session(extra, own_mask if mask is None else mask).run(store, client, on_ready)

    return daemon.start(serve, daemon.Until.KILLED, callers_fds)


class Session:
    """The command while it runs, and its client."""

    def __init__(self, extra: Extra, mask: set[int]) -> None:
        self._extra = extra
        self._mask = mask
        self._loop = EventLoop()
        self._client: Client | None = None
        self._child: Child | None = None
        self._streams: Streams | None = None
        self._terminal: int | None = None
        self._has_ended = False

    def run(self, store: Store, sock: socket.socket | None, on_ready: Callable[[], None]) -> None:
        """Run it to its end.

        Raises:
            NotRunning: the container has ended.
            Failure: the command cannot be run: 126; it is not there: 127.
        """
        if sock is not None:
            self._await_client(sock)
        ends = self._start(
            open_entrance(store.containers.directory(self._extra.record.id), self._extra.record)
        )
        on_ready()
        self._streams = streams.Streams(self._loop, ends, None)
        if self._client is not None:
            self._streams.listeners.append(self._client)
        status = self._await_end()
        self._say_goodbye(status)

    def _await_client(self, sock: socket.socket) -> None:
        client = Client(self._loop, sock, self)
        self._loop.run_until(lambda: self._client is not None or client.is_closed)

    def _start(self, entrance: Entrance) -> Ends:
        try:
            namespaces.hide_from_tracers()
            entrance.enter_outside()
            started = self._fork(entrance)
        finally:
            entrance.close()
        self._child = started.child
        if self._extra.tty:
            (self._terminal,) = started.ends.outputs
        return started.ends

    def _fork(self, entrance: Entrance) -> command.Command:
        extra = self._extra
        session_fd = os.pidfd_open(os.getpid())

        def fork(stdio: tuple[int, ...], terminal_to: socket.socket | None) -> Child:
            return fork_inside(extra, entrance, session_fd, stdio, terminal_to, self._mask)

        return command.wired(fork, tty=extra.tty, has_stdin=extra.stdin_open)

    def _await_end(self) -> int:
        assert self._child is not None
        assert self._streams is not None
        child, shown = self._child, self._streams
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            self._has_ended = True

        self._loop.watch(fd, READABLE, ended)
        self._loop.run_until(lambda: self._has_ended)
        status = child.wait()
        self._run_at_most(_LAST_OUTPUT_S, lambda: shown.is_over)
        shown.close()
        self._streams = None
        return status

    def _say_goodbye(self, status: int) -> None:
        client = self._client
        if client is not None:
            client.send(number_frame(Kind.ENDED, status))
            client.finish()
            self._run_at_most(_LAST_CLIENT_S, lambda: client.has_all)

    def _run_at_most(self, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        late = self._loop.call_later(seconds, lambda: None)
        self._loop.run_until(lambda: is_done() or time.monotonic() >= deadline)
        late.cancel()

    # What the client asks.

    def ask(self, client: Client, request: dict[str, object]) -> dict[str, object] | None:
        if request != {"do": "attach"}:
            raise ValueError("no such request")
        self._client = client
        return {}

    def take(self, client: Client, frame: Frame) -> None:
        if frame.kind is Kind.STDIN and self._streams is not None:
            self._streams.type(frame.body)
        elif frame.kind is Kind.SIZE and self._terminal is not None and self._streams is not None:
            if not self._streams.is_over:
                terminals.set_size(self._terminal, *size_in(frame))
        elif frame.kind is Kind.SIGNAL and self._child is not None:
            number = number_in(frame)
            if number not in signal.valid_signals():
                raise BadFrame(f"no signal {number}")
            self._child.kill(signal.Signals(number))

    def gone(self, client: Client) -> None:
        self._client = None
        if self._streams is not None:
            self._streams.listeners.clear()
            self._streams.type(b"")
            self._streams.adjust()

    def caught_up(self) -> None:
        if self._streams is not None:
            self._streams.adjust()


def fork_inside(
    extra: Extra,
    entrance: Entrance,
    own_fd: int,
    stdio: tuple[int, ...],
    terminal_to: socket.socket | None,
    mask: set[int],
) -> Child:
    """Start the command, after `Entrance.enter_outside`; it ends with this process.

    `own_fd` is this process's pidfd, which is closed.

    Raises:
        NotRunning: the container has ended.
        Failure: the command cannot be run: 126; it is not there: 127.
    """

    def become(report: Report) -> NoReturn:
        children.die_with(own_fd, signal.SIGKILL)
        _become(extra, entrance, stdio, terminal_to, mask, report)

    try:
        child = children.start(become)
    except OSError as error:
        if error.errno == errno.ENOMEM:  # the pid namespace has lost its first process
            raise NotRunning(extra.record.name) from None
        raise
    finally:
        os.close(own_fd)
    try:
        child.word()
    except Failure as failure:
        code = NOT_FOUND if failure.exit_code == NOT_FOUND else CANNOT_RUN
        raise Failure(str(failure), code) from None
    return child


def _become(
    extra: Extra,
    entrance: Entrance,
    stdio: tuple[int, ...],
    terminal_to: socket.socket | None,
    mask: set[int],
    report: Report,
) -> NoReturn:
    """Become the command, in a process that is in the container's pid namespace only."""
    os.setsid()
    cgroup.enter(entrance.cgroup)
    entrance.enter()
    os.chdir("/")
    for number, fd in zip(_STDIO, stdio, strict=True):
        os.dup2(fd, number)
    terminal = None if terminal_to is None else _terminal(extra, terminal_to)
    assert report.fd is not None
    children.close_all_but(report.fd, *(() if terminal is None else (terminal.slave,)))
    sys.path.clear()
    account = extra.process.account()
    extra.process.directory.enter()
    extra.rights.take()
    process.become(extra.process, extra.rights, account, terminal, mask, report)


def _terminal(extra: Extra, to: socket.socket) -> Terminal:
    pair = terminals.open_pair("/dev/pts")
    if extra.size is not None:
        terminals.set_size(pair.slave, *extra.size)
    socket.send_fds(to, [b"m"], [pair.master])
    os.close(pair.master)
    terminal = Terminal(pair.slave, _STDIO)
    terminal.take()
    return terminal
