"""The process that has all code loaded, and is forked for each command that a client hands over.

Plan: one thread, one loop, no state of any command. A connection goes from `PROPOSING`, where the
client shows who it is and is looked at, to `ORDERING`, where it hands the command over, to
`RUNNING`, where only its end means anything: then its command is killed. `Template.serve` returns
in each child, and never in the template, which it ends. Whatever is odd about a client is a
refusal: it runs its command itself.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.errors import Failure
from overlayfs_py.warm import client, errand, variables
from overlayfs_py.warm.circumstances import Process, Unlike, require_same
from overlayfs_py.warm.code_files import ChangedMeanwhile, CodeFiles
from overlayfs_py.warm.connection import Connection, Stage

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_CHUNK = 1 << 16
_MOST_CONNECTIONS = 1000
_QUEUE = 256
_MOST_REASONS = 100
_RESPITE_S = 0.01


class Template:
    """Serves clients at a socket until it is told to stop, or has had nothing to do for long."""

    def __init__(self, path: str, idle_s: float, environ: MutableMapping[bytes, bytes]) -> None:
        """Listen at `path`, where nothing is.

        `environ` is this process's environment, which in a child becomes the client's.

        Raises:
            Failure: this process cannot be one.
            OSError: it cannot listen there.
        """
        self._secret = _kept_secret()
        self._path = path
        self._idle_s = idle_s
        self._environ = environ
        self._fixed = variables.fixed(environ)
        self._interpreter = client.interpreter()
        self._facts = client.own_facts()
        self._pid = os.getpid()
        self._self = Process(self._pid)
        self._began = self._busy = time.monotonic()
        self._is_stopping = False
        self._commands = 0
        self._refusals: dict[str, int] = {}
        self._connections: dict[int, Connection] = {}
        self._poller = select.poll()
        require_fitness()
        self._code = _code()
        self._woken = self._catch_signals()
        self._listener: socket.socket | None = _listener(path)
        self._inode = os.lstat(path).st_ino
        self._poller.register(self._listener, select.POLLIN)
        gc.collect()
        gc.freeze()  # no child is to copy pages only because it looks for garbage in them

    def serve(self) -> None:
        """Serve; returns in each child that is to be a command, as that command's process."""
        while True:
            for fd, _ in self._poller.poll(self._wait_ms()):
                if fd == self._woken:
                    self._heed_signals()
                elif self._listener is not None and fd == self._listener.fileno():
                    self._accept()
                elif fd in self._connections and self._hear(self._connections[fd]):
                    return
            self._end_what_is_late()
            if self._is_over():
                self._leave()

    # Its life.

    def _catch_signals(self) -> int:
        errand.usual_signals()
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in errand.CAUGHT:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._poller.register(woken, select.POLLIN)
        return woken

    def _heed_signals(self) -> None:
        received = os.read(self._woken, _CHUNK)
        if set(received) & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            self._stop()
        self._reap()

    def _wait_ms(self) -> float | None:
        deadlines = [
            each.deadline for each in self._connections.values() if each.stage is not Stage.RUNNING
        ]
        if not self._connections:
            deadlines.append(self._busy + self._idle_s)
        if not deadlines:
            return None
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1

    def _is_over(self) -> bool:
        if self._connections:
            return False
        if time.monotonic() >= self._busy + self._idle_s:
            self._stop()
        return self._is_stopping and not self._connections

    def _stop(self) -> None:
        """Take no more commands; those that run go on."""
        self._is_stopping = True
        if self._listener is None:
            return
        # In this order: whoever finds nobody listening may put a socket of its own there.
        with suppress(FileNotFoundError):
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        self._poller.unregister(self._listener)
        self._listener.close()
        self._listener = None

    def _leave(self) -> NoReturn:
        self._stop()
        os._exit(0)

    # Clients.

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor, no memory
            self._count(f"accept: {error.strerror}")
            time.sleep(_RESPITE_S)  # or this would be tried again at once, for ever
            return
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        pid, uid, gid = client.peer_of(sock)
        own = (os.geteuid(), os.getegid())
        if (uid, gid) != own or not pid or len(self._connections) >= _MOST_CONNECTIONS:
            sock.close()
            return
        self._connections[sock.fileno()] = Connection(sock, pid)
        self._poller.register(sock, select.POLLIN)

    def _hear(self, connection: Connection) -> bool:
        """Go on with a client; true in a child that is its command."""
        try:
            message = connection.message()
            if message is None:
                return False
            fields = client.unpacked(message)
            if connection.stage is Stage.PROPOSING:
                self._answer(connection, fields)
                return False
            if connection.stage is Stage.ORDERING:
                return self._run(connection, fields)
            self._drop(connection)  # there is nothing more to say
        except client.Lost:
            self._drop(connection)
        except Unlike as error:
            self._refuse(connection, str(error))
        except Exception as error:
            # Whatever is odd about one client, the commands of others go on.
            self._refuse(connection, f"{type(error).__name__}: {error}")
        return False

    def _answer(self, connection: Connection, fields: list[bytes]) -> None:
        match fields:
            case [client.RUN, secret, own_fd, secret_fd, facts, interpreter]:
                if self._is_stopping:
                    raise Unlike("end of the template")
                if secret != self._secret:
                    raise Unlike("right to trace the template")
                if facts != self._facts:
                    raise Unlike("personality")
                if interpreter != self._interpreter:
                    raise Unlike("interpreter's options and paths")
                proof = self._look_at(connection, int(own_fd), int(secret_fd))
                connection.sock.sendall(client.AGREED + proof + connection.word)
                connection.stage = Stage.ORDERING
            case [client.STATUS]:
                connection.sock.sendall(client.packed([json.dumps(self._status()).encode()]))
                self._drop(connection)
            case [client.STOP]:
                running = self._running()
                self._stop()
                connection.sock.sendall(client.packed([b"%d" % running]))
                self._drop(connection)
            case _:
                raise Unlike("message")

    def _look_at(self, connection: Connection, own_fd: int, secret_fd: int) -> bytes:
        """Compare a client with this process; returns the secret that it shows to its tracers."""
        connection.pidfd = os.pidfd_open(connection.pid)
        process = connection.process = Process(connection.pid)
        if own_fd == secret_fd or min(own_fd, secret_fd) < client.SECRET_FD:
            raise Unlike("open descriptors: one of the streams is closed")
        process.require_only((0, 1, 2, own_fd, secret_fd))
        require_same(self._self.facts(), process.facts())
        changed = self._code.changed()
        if changed is not None:
            self._stop()  # it will not change back
            raise Unlike(f"code: {changed} has changed")
        connection.umask = process.umask()
        if not process.link(f"fd/{secret_fd}").startswith("/memfd:"):
            raise Unlike("secret")
        proof = process.read(f"fd/{secret_fd}")
        if len(proof) != client.SECRET_BYTES:
            raise Unlike("secret")
        return proof

    def _run(self, connection: Connection, fields: list[bytes]) -> bool:
        """Fork the command; true in it."""
        assert connection.process is not None
        if len(fields) != 3 or len(connection.streams) != 3 or connection.received:
            raise Unlike("message")
        word, words, pairs = fields
        if word != connection.word:
            raise Unlike("sender")
        environment = client.unpacked(pairs[4:])
        if variables.fixed(variables.pairs(environment)) != self._fixed:
            raise Unlike(f"variables: {variables.KINDS}")
        if any(map(os.isatty, connection.streams)):
            raise Unlike("terminal")
        connection.directory = connection.process.open_directory("cwd")
        first, second, third = connection.streams
        order = errand.Errand(
            client.unpacked(words[4:]),
            environment,
            (first, second, third),
            connection.directory,
            connection.umask,
            connection.process.read("cmdline").rstrip(b"\0").split(b"\0"),
            connection.process.read("comm").rstrip(b"\n"),
        )
        self._require_alive(connection)
        pid = os.fork()
        if not pid:
            self._become(order, connection)
            return True
        connection.begun(pid)
        self._commands += 1
        return False

    def _become(self, order: errand.Errand, connection: Connection) -> None:
        try:
            template = self._pid
            # No object is to close a number that will be another's.
            for each in self._connections.values():
                if each is not connection:
                    each.sock.detach()
            if self._listener is not None:
                self._listener.detach()
            errand.become(order, connection.sock, template, self._environ)
        except BaseException:
            # The client has not heard that it has begun, and will do it itself.
            os._exit(client.LOST)

    def _require_alive(self, connection: Connection) -> None:
        """Require that it was the client, all the time, that was looked at."""
        assert connection.pidfd is not None
        ended, _, _ = select.select([connection.pidfd], [], [], 0)
        if ended:
            raise client.Lost

    def _refuse(self, connection: Connection, why: str) -> None:
        self._count(why)
        if connection.stage is not Stage.RUNNING:
            with suppress(OSError):  # it has gone
                connection.sock.send(client.REFUSED)
        self._drop(connection)

    def _count(self, why: str) -> None:
        if why in self._refusals or len(self._refusals) < _MOST_REASONS:
            self._refusals[why] = self._refusals.get(why, 0) + 1

    def _drop(self, connection: Connection) -> None:
        """Forget a client; a command of its does not outlive it."""
        if connection.command is not None:
            os.kill(connection.command, signal.SIGKILL)
        if self._connections.pop(connection.sock.fileno(), None) is not None:
            self._poller.unregister(connection.sock)
        connection.close()
        self._busy = time.monotonic()

    def _end_what_is_late(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.stage is not Stage.RUNNING and now >= connection.deadline:
                self._refuse(connection, "time")

    # Commands.

    def _running(self) -> int:
        return sum(each.command is not None for each in self._connections.values())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if not pid:
                return
            found = [each for each in self._connections.values() if each.command == pid]
            for connection in found:
                if os.WIFSTOPPED(status):
                    self._tell(connection, client.STOPPED)
                else:
                    connection.command = None
                    self._tell(connection, client.ENDED + status.to_bytes(4, "big"))
                    self._drop(connection)

    def _tell(self, connection: Connection, word: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it
            connection.sock.send(word)

    def _status(self) -> dict[str, object]:
        now = time.monotonic()
        return {
            "pid": self._pid,
            "age": round(now - self._began, 1),
            "idle": self._idle_s,
            "running": self._running(),
            "commands": self._commands,
            "refused": self._refusals,
        }


def require_fitness() -> None:
    """Require that this process may be a template, as far as it can be said before it has code.

    Raises:
        Failure: it may not.
    """
    own = os.getpid()
    if os.readlink("/proc/self") != str(own):
        raise Failure("warm: /proc shows another pid namespace's processes")
    if "" in sys.path:
        raise Failure("warm: Python looks for modules in the working directory, whichever that is")
    if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:
        raise Failure("warm: something has started a thread, and threads cannot be forked")
    process = Process(own)
    try:
        process.facts()
    except Unlike as error:
        raise Failure(f"warm: {error}: what confines this process cannot be compared") from None
    finally:
        process.close()


def _kept_secret() -> bytes:
    """Keep a secret where those find it that may trace this process, and return it."""
    secret = os.urandom(client.SECRET_BYTES)
    fd = os.memfd_create("overlayfs-py")
    if fd != client.SECRET_FD:  # this process has others open
        os.dup2(fd, client.SECRET_FD, inheritable=False)
        os.close(fd)
    os.write(client.SECRET_FD, secret)
    return secret


def _code() -> CodeFiles:
    try:
        return CodeFiles()
    except ChangedMeanwhile as error:
        raise Failure(f"warm: {error}: it has just been changed; try again") from None


def _listener(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Each message then says who has sent it, also those that come before they are accepted.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    listener.setblocking(False)
    os.umask(0o077)
    listener.bind(path)
    listener.listen(_QUEUE)
    return listener
