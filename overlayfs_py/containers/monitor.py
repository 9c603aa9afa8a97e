"""The process beside a running container: it mounts, starts, watches, restarts and cleans up.

One for each container, from its start to its end; nothing else of ours runs. It holds the
container's lock as long as it lives, and the kernel ends with it whatever it started: the first
process of the container, and so all others, and the daemon of the mount. What it is to do, clients
say at its door, a socket in the container's directory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.containers import cgroup, command, output_log, signals, state, user_namespace
from overlayfs_py.containers.audience import Audience
from overlayfs_py.containers.cgroup_limits import Limits
from overlayfs_py.containers.door import Client, Door
from overlayfs_py.containers.event_loop import READABLE, EventLoop
from overlayfs_py.containers.filesystem import Filesystem
from overlayfs_py.containers.frames import BadFrame, Frame, Kind, number_in, size_in
from overlayfs_py.containers.network import Network
from overlayfs_py.containers.processes import Frozen
from overlayfs_py.containers.restarts import RestartPolicy
from overlayfs_py.containers.state import State, Status
from overlayfs_py.containers.streams import Streams
from overlayfs_py.errors import Failure, OverlayError, describe, exit_code_of
from overlayfs_py.mounts import daemon
from overlayfs_py.store import locks
from overlayfs_py.store.containers import LOCK, VISITORS
from overlayfs_py.store.failures import InUse
from overlayfs_py.syscalls import signal_fds, terminals

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.command import Command
    from overlayfs_py.containers.event_loop import Timer
    from overlayfs_py.containers.health import HealthCheck
    from overlayfs_py.containers.launch import Launch
    from overlayfs_py.containers.mount_door import Done
    from overlayfs_py.mounts.children import Child

CANNOT_START = 125  # what failed is ours, not the command
_LAST_OUTPUT_S = 2.0  # for pipes of a dead container that a process outside holds

log = logging.getLogger(__name__)


def start(
    launch: Launch,
    first_client: socket.socket | None,
    callers_fds: frozenset[int],
    mask: set[int] | None,
    finish: Callable[[], None],
) -> Child:
    """Fork a monitor; it is ready once the command runs.

    To be called while there is one thread. `first_client` is the monitor's end of a connection,
    which sees the output from its first byte. `mask` is the command's signal mask, where the
    caller has blocked signals already (`signals.block`). `finish` is called at the end, when
    nothing of the container runs or is mounted and its lock is free.
    """

    def serve(on_ready: Callable[[], None]) -> None:
        lock_fd = _lock(launch)
        try:
            if not user_namespace.may_mount():
                user_namespace.enter()
            own_mask = signals.block()
            commands_mask = own_mask if mask is None else mask
            Monitor(launch, commands_mask, lock_fd).run(first_client, on_ready)
        finally:
            os.close(lock_fd)
            finish()

    return daemon.start(serve, daemon.Until.KILLED, callers_fds)


def _lock(launch: Launch) -> int:
    fd = os.open(launch.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InUse(launch.record.name, "the container is running already") from None
    # A process that has the files mounted meanwhile, for `cp`, is waited for.
    locks.acquire(launch.directory / VISITORS, locks.Mode.EXCLUSIVE).close()
    return fd


class Monitor:
    """The state of one container that runs."""

    def __init__(self, launch: Launch, mask: set[int], lock_fd: int) -> None:
        self._launch = launch
        self._mask = mask
        self._loop = EventLoop()
        self._network = Network(launch.record, launch.directory, lock_fd)
        self._policy = RestartPolicy.parse(launch.record.restart)
        self._state = State(monitor_pid=os.getpid())
        self._command: Command | None = None
        self._streams: Streams | None = None
        self._audience = Audience()
        self._filesystem = Filesystem(self._loop, launch)
        self._killing: Timer | None = None
        self._starting_again: Timer | None = None
        self._frozen: Frozen | None = None
        self._holder: Client | None = None  # whose end lets what is frozen go on
        self._health: HealthCheck | None = None
        self._is_over = False
        self._cgroup: tuple[Path, ...] = ()
        self._killed_before = 0  # for want of memory, in earlier runs of the command
        self._size: tuple[int, int] | None = None

    def run(self, first_client: socket.socket | None, on_ready: Callable[[], None]) -> None:
        """Run the container to its end.

        Raises:
            OSError: it could not be started.
        """
        try:
            limits = Limits.of(self._launch.record)
            self._cgroup = cgroup.make(self._launch.directory, self._launch.record.id, limits)
            self._network.open()
            self._filesystem.mount(self._network.names)
            door = Door(self._loop, self._launch.directory, self)
            try:
                if first_client is not None:
                    self._await_attachment(Client(self._loop, first_client, self))
                self._start()
                on_ready()
                self._watch()
                self._loop.run_until(lambda: self._is_over)
            finally:
                door.close()
            self._filesystem.settle()
            self._audience.say_goodbye(self._loop, self._state.exit_code)
        except OSError as error:
            self._note_failure(error)
            raise
        finally:
            self._filesystem.close()
            self._network.close()
            cgroup.remove(self._launch.directory)

    def _await_attachment(self, client: Client) -> None:
        self._loop.run_until(lambda: client in self._audience.attached or client.is_closed)
        if client.is_closed:
            raise Failure(f"{self._launch.record.name}: nobody waits for it any more")

    # Starting.

    def _start(self) -> None:
        path, writer = self._launch.directory / output_log.FILE, None
        if self._launch.record.log_driver != output_log.NONE:
            writer = output_log.LogWriter(path)
        try:
            self._command = command.start(self._launch, self._mask, self._network.namespace_fd)
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        self._streams = Streams(self._loop, self._command.ends, writer)
        self._streams.listeners += self._audience.attached
        if self._size is not None:
            self._resize(*self._size)
        self._killed_before = cgroup.out_of_memory_kills(self._cgroup)
        self._change(
            status=Status.RUNNING,
            pid=self._command.pid,
            started_ns=time.time_ns(),
            finished_ns=0,
            exit_code=0,
            error="",
            out_of_memory=False,
            ports=self._network.ports,
        )

    def _watch(self) -> None:
        """Watch what may end: the command, the mount; and signals."""
        self._watch_command()
        self._network.watch(self._loop)
        self._filesystem.watch(self._lost_mount)
        signal_fd = signal_fds.open_signal_fd(signals.watched())
        self._loop.watch(signal_fd, READABLE, lambda: self._heed_signals(signal_fd))

    def _watch_command(self) -> None:
        assert self._command is not None
        child = self._command.child
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            self._ended(child.wait())

        self._loop.watch(fd, READABLE, ended)
        record = self._launch.record
        if record.healthcheck is not None:
            from overlayfs_py.containers.health import HealthCheck

            self._health = HealthCheck(
                self._loop,
                record,
                self._launch.directory,
                self._mask,
                lambda found, streak: self._change(health=found, failing_streak=streak),
            )

    # Ending.

    def _lost_mount(self, why: str) -> None:
        if not self._is_over:
            log.warning("%s", why)
            self._change(error=why, was_stopped=True)
            self._kill(signal.SIGKILL)

    def _heed_signals(self, fd: int) -> None:
        while (received := signal_fds.read_signal(fd)) is not None:
            if received.number in (signal.SIGTERM, signal.SIGINT):
                self._stop(signal.Signals[self._launch.record.stop_signal], None)

    def _ended(self, status: int) -> None:
        """The first process has ended, and with it all others of its pid namespace."""
        assert self._streams is not None
        streams = self._streams
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None
        deadline = time.monotonic() + _LAST_OUTPUT_S
        late = self._loop.call_later(_LAST_OUTPUT_S, lambda: None)
        self._loop.run_until(lambda: streams.is_over or time.monotonic() >= deadline)
        late.cancel()
        streams.close()
        self._streams = self._command = None
        self._change(
            status=Status.EXITED,
            pid=0,
            exit_code=status,
            finished_ns=time.time_ns(),
            ports=(),
            out_of_memory=cgroup.out_of_memory_kills(self._cgroup) > self._killed_before,
        )
        self._frozen = None
        if self._health is not None:
            self._health.stop()
            self._health = None
        delay_s = None
        if self._audience.restarting:
            self._restart()
            return
        if not self._state.was_stopped:
            ran_s = (self._state.finished_ns - self._state.started_ns) / 1e9
            delay_s = self._policy.delay_s(status, self._state.restarts, ran_s)
        if delay_s is None:
            self._is_over = True
            return
        self._change(status=Status.RESTARTING, restarts=self._state.restarts + 1)
        self._starting_again = self._loop.call_later(delay_s, self._restart)

    def _restart(self) -> None:
        if self._starting_again is not None:
            self._starting_again.cancel()
            self._starting_again = None
        if self._state.was_stopped:
            self._change(status=Status.EXITED)
            self._is_over = True
            return
        try:
            self._start()
        except OSError as error:
            log.warning("%s", describe(error))
            self._note_failure(error)
            self._audience.tell_restarted({"error": describe(error)})
            self._is_over = True
            return
        self._watch_command()
        self._audience.tell_restarted({})

    def _note_failure(self, error: OSError) -> None:
        code = exit_code_of(error)
        self._change(
            status=Status.EXITED if self._state.started_ns else Status.CREATED,
            pid=0,
            exit_code=CANNOT_START if code == OverlayError.exit_code else code,
            error=describe(error),
            finished_ns=time.time_ns(),
        )

    def _change(self, **facts: object) -> None:
        self._state = structs.replace(self._state, **facts)
        state.write(self._launch.directory, self._state)

    # What clients ask.

    def ask(self, client: Client, request: dict[str, object]) -> dict[str, object] | None:
        match request:
            case {"do": "attach"}:
                self._attach(client)
                return {}
            case {"do": "wait"}:
                self._audience.waiting.append(client)
                return None
            case {
                "do": "stop",
                "signal": int(number),
                "timeout": int() | float() | None as timeout,
            }:
                self._audience.waiting.append(client)
                self._stop(signal.Signals(number), timeout)
                return None
            case {
                "do": "restart",
                "signal": int(number),
                "timeout": int() | float() | None as timeout,
            }:
                self._audience.restarting.append(client)
                self._begin_restart(signal.Signals(number), timeout)
                return None
            case {"do": "pause"}:
                self._pause()
                return {}
            case {"do": "hold"}:
                self._pause()
                self._holder = client
                return {}
            case {"do": "unpause"}:
                self._unpause()
                return {}
            case {"do": "reset"}:
                self._filesystem.reset(self._first_pid, self._answering(client))
                return None
            case {"do": "restore", "tag": str(tag)}:
                self._filesystem.restore(tag, self._first_pid, self._answering(client))
                return None
            case {"do": "snapshot", "tag": str() | None as new_tag}:
                self._filesystem.snapshot(new_tag, self._answering(client))
                return None
            case {"do": "forget", "tag": str(tag)}:
                self._filesystem.forget(tag)
                return {}
            case {"do": "signal", "number": int(number)}:
                self._kill(signal.Signals(number))
                return {}
            case _:
                raise ValueError("no such request")

    @property
    def _first_pid(self) -> int | None:
        return None if self._command is None else self._command.pid

    def _answering(self, client: Client) -> Done:
        """Answer a client later, with what went wrong or the layers that there are now."""
        name = self._launch.record.name

        def answer(error: str | None) -> None:
            layers = list(self._filesystem.stack.layers)
            client.answer({"layers": layers} if error is None else {"error": f"{name}: {error}"})

        return answer

    def take(self, client: Client, frame: Frame) -> None:
        if frame.kind is Kind.STDIN and self._streams is not None:
            self._streams.type(frame.body)
        elif frame.kind is Kind.SIZE:
            self._resize(*size_in(frame))
        elif frame.kind is Kind.SIGNAL:
            number = number_in(frame)
            if number not in signal.valid_signals():
                raise BadFrame(f"no signal {number}")
            self._kill(signal.Signals(number))

    def gone(self, client: Client) -> None:
        self._audience.forget(client)
        if client is self._holder:
            self._go_on()
        if self._streams is not None and client in self._streams.listeners:
            self._streams.listeners.remove(client)
            self._streams.adjust()

    def caught_up(self) -> None:
        if self._streams is not None:
            self._streams.adjust()

    def _attach(self, client: Client) -> None:
        self._audience.attached.append(client)
        if self._streams is not None:
            self._streams.listeners.append(client)

    def _resize(self, rows: int, columns: int) -> None:
        self._size = (rows, columns)
        if self._command is not None and self._launch.record.tty:
            for fd in self._command.ends.outputs:
                terminals.set_size(fd, rows, columns)

    def _stop(self, number: signal.Signals, timeout_s: float | None) -> None:
        """Ask the command to end, and kill it where it does not in time."""
        self._change(was_stopped=True)
        self._audience.tell_restarted({"error": f"{self._launch.record.name}: it is told to stop"})
        self._end_command(number, timeout_s)

    def _begin_restart(self, number: signal.Signals, timeout_s: float | None) -> None:
        self._change(was_stopped=False)
        if self._command is None:  # it waits for its next start
            self._restart()
        else:
            self._end_command(number, timeout_s)

    def _end_command(self, number: signal.Signals, timeout_s: float | None) -> None:
        if timeout_s is None:
            timeout_s = self._launch.record.stop_timeout_s
        self._kill(number)
        self._go_on()
        if self._killing is not None:
            self._killing.cancel()
        if timeout_s >= 0:  # below: for ever, as docker has it
            self._killing = self._loop.call_later(timeout_s, lambda: self._kill(signal.SIGKILL))

    def _pause(self) -> None:
        if self._command is None:
            raise Failure(f"{self._launch.record.name}: the container is not running")
        if self._frozen is not None:
            raise Failure(f"{self._launch.record.name}: the container is paused already")
        self._frozen = Frozen(self._command.pid)
        self._change(status=Status.PAUSED)

    def _unpause(self) -> None:
        if self._frozen is None:
            raise Failure(f"{self._launch.record.name}: the container is not paused")
        self._go_on()

    def _go_on(self) -> None:
        """Let paused processes run, for a signal's sake too."""
        self._holder = None
        if self._frozen is not None:
            self._frozen.go_on()
            self._frozen = None
            self._change(status=Status.RUNNING)

    def _kill(self, number: signal.Signals) -> None:
        if self._command is not None:
            self._command.kill(number)
            if number == signal.SIGKILL:
                self._go_on()
            return
        if self._state.status is Status.RESTARTING:
            return
        raise Failure(f"{self._launch.record.name}: the container is not running")
