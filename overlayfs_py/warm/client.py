"""The small program that hands a command over to the template, and ends as the command does.

Loads no module that has to be found on disk: `socket` and `signal` would take longer than all of
this, for the sake of their enums.

Plan: the two sides prove to each other that each may trace the other (ptrace(2), "access mode
checking"), by a secret in a file that only /proc/PID/fd of its owner shows. Who may trace a process
can have it do anything, so neither gives the other more than it has, whatever confines either. Only
then do the words, the environment and the streams follow. Until the command says `BEGUN` nothing
has happened, and this process may still run it itself.
"""

from __future__ import annotations

import os
import select
import sys

TYPE_CHECKING = False  # typing's
if TYPE_CHECKING:
    import signal as _signal
    import socket as _socket
    from collections.abc import Iterable, Mapping
    from types import FrameType
    from typing import NoReturn
else:
    import _signal
    import _socket

# The template's secret is always this descriptor.
SECRET_FD = 3
SECRET_BYTES = 32
WORD_BYTES = 16
_NUMBER_BYTES = 4  # of a number on the connection, big-endian

# What the first message asks for.
RUN, STATUS, STOP = b"run", b"status", b"stop"
# What comes back, each one byte and what is said behind it.
REFUSED = b"R"
AGREED = b"A"  # the client's secret, and a word that has to be in its answer
BEGUN = b"B"  # with the pidfd of the command
STOPPED = b"S"
ENDED = b"E"  # the wait status

LOST = 125  # docker's: what failed is ours
_PATIENCE_S = 5.0  # a guess: fifty before us take a second or two on a busy machine
_END_S = 5.0
_MOST_BYTES = 1 << 16
# To the process, whatever they mean to us: SIGSTOP and SIGKILL cannot be caught, and faults are our
# own. What the kernel sends to the caller's terminal comes from no terminal here.
_NOT_PASSED_ON = {
    *(_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD),
    *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGILL, _signal.SIGFPE),
}


class Lost(Exception):
    """The other side has ended, or is none of ours."""


def packed(fields: Iterable[bytes]) -> bytes:
    """A message: its length, then each field behind its own."""
    body = b"".join(len(field).to_bytes(_NUMBER_BYTES, "big") + field for field in fields)
    return len(body).to_bytes(_NUMBER_BYTES, "big") + body


def unpacked(body: bytes) -> list[bytes]:
    """The fields of a message without its length.

    Raises:
        ValueError: it is none.
    """
    fields = []
    while body:
        size = int.from_bytes(body[:_NUMBER_BYTES], "big")
        field = body[_NUMBER_BYTES : _NUMBER_BYTES + size]
        if len(field) != size or len(body) < _NUMBER_BYTES:
            raise ValueError("a message that is cut off")
        fields.append(field)
        body = body[_NUMBER_BYTES + size :]
    return fields


def interpreter() -> bytes:
    """What this interpreter was started as, to be compared: of the same words it loads the same."""
    facts = (
        *(sys.executable, sys.prefix, sys.version, sys.path, tuple(sys.flags)),
        *(sys.dont_write_bytecode, sys.warnoptions, sys._xoptions, __file__),  # noqa: SLF001
    )
    return repr(facts).encode("utf-8", "surrogateescape")


def own_facts() -> bytes:
    """What /proc shows of a process to itself alone, wherever tracing is restricted."""
    return _read("/proc/self/personality") + b" " + _read("/proc/self/timerslack_ns")


def hand_over(path: str, environ: Mapping[bytes, bytes]) -> None:
    """Have the template at `path` run this process's command, and end with it.

    Returns where it does not, for whatever reason; nothing has been done then.
    """
    if any(map(os.isatty, (0, 1, 2))):
        return  # sessions and job control are the caller's
    try:
        sock = connected(path)
    except OSError:
        return
    client = _Client(sock)
    try:
        begun = client.propose() and client.begin(environ)
    except (OSError, Lost):
        begun = False
    if begun:
        client.follow()
    client.withdraw()


def connected(path: str) -> _socket.socket:
    """A connection to what listens at `path`.

    Raises:
        OSError: nothing does, or another user.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(_PATIENCE_S)
        sock.connect(path)
        if peer_of(sock)[1] != os.geteuid():
            raise PermissionError("another user's")
    except OSError:
        sock.close()
        raise
    return sock


def peer_of(sock: _socket.socket) -> tuple[int, int, int]:
    """The pid, uid and gid of the process at the other end, as it was when it began there."""
    return credentials(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))


def credentials(data: bytes) -> tuple[int, int, int]:
    """The pid, uid and gid in a `struct ucred`."""
    pid, uid, gid = (int.from_bytes(data[at : at + 4], sys.byteorder) for at in (0, 4, 8))
    return pid, uid, gid


class _Client:
    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._secret = os.urandom(SECRET_BYTES)
        self._secret_fd = os.memfd_create("overlayfs-py")
        self._word = b""
        self._command: int | None = None  # its pidfd
        self._early: list[int] = []
        self._before: dict[int, _signal._HANDLER] = {}

    def propose(self) -> bool:
        """Show who we are; whether the template agrees, and may know."""
        os.write(self._secret_fd, self._secret)
        self._catch_signals()
        self._sock.sendall(
            packed(
                (
                    RUN,
                    _templates_secret(peer_of(self._sock)[0]),
                    b"%d" % self._sock.fileno(),
                    b"%d" % self._secret_fd,
                    own_facts(),
                    interpreter(),
                )
            )
        )
        if self._answer() != AGREED or self._bytes(SECRET_BYTES) != self._secret:
            return False
        self._word = self._bytes(WORD_BYTES)
        return True

    def begin(self, environ: Mapping[bytes, bytes]) -> bool:
        """Hand over the command; whether it has begun."""
        words = [os.fsencode(word) for word in sys.argv]
        pairs = [name + b"=" + value for name, value in environ.items()]
        message = packed((self._word, packed(words), packed(pairs)))
        streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
        # From here on nobody but the template decides whether it begins: no deadline.
        self._sock.settimeout(None)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)]
        sent = self._sock.sendmsg([message], ancillary)
        self._sock.sendall(message[sent:])
        return self._answer() == BEGUN

    def follow(self) -> NoReturn:
        """Wait for the end of the command, and end the same way."""
        # Whoever writes to or reads from the command is to see that it has closed its streams.
        os.close(0)
        os.close(1)
        for number in self._early:
            self._pass_on(number)
        try:
            while (answer := self._answer()) != ENDED:
                if answer == STOPPED:
                    os.kill(os.getpid(), _signal.SIGSTOP)
            _end_as(int.from_bytes(self._bytes(_NUMBER_BYTES), "big"))
        except (OSError, Lost):
            self._lose()

    def withdraw(self) -> None:
        """Leave this process as it was, but for what it has been told meanwhile."""
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        os.close(self._secret_fd)
        self._sock.close()
        for number in self._early:
            os.kill(os.getpid(), number)

    def _lose(self) -> NoReturn:
        """The kernel ends the command with its template: say so when it has."""
        assert self._command is not None
        poller = select.poll()
        poller.register(self._command, select.POLLIN)
        poller.poll(_END_S * 1000)
        os.write(2, b"overlayfs-py: the warm process was killed, and this command with it\n")
        os._exit(LOST)

    # Signals.

    def _catch_signals(self) -> None:
        for number in _signal.valid_signals() - _NOT_PASSED_ON:
            handler = _signal.getsignal(number)
            if handler != _signal.SIG_IGN:
                self._before[number] = handler
                _signal.signal(number, self._heed)

    def _heed(self, number: int, _: FrameType | None) -> None:
        if self._command is None:
            self._early.append(number)
        else:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        assert self._command is not None
        try:  # noqa: SIM105 - contextlib would have to be loaded
            _signal.pidfd_send_signal(self._command, number)
        except ProcessLookupError:
            pass  # the end is on its way to us

    # What comes.

    def _answer(self) -> bytes:
        data, ancillary, _, _ = self._sock.recvmsg(1, 64)
        for level, kind, carried in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                self._command = int.from_bytes(carried[:4], sys.byteorder)
        if not data:
            raise Lost
        return data

    def _bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._sock.recv(count - len(data))
            if not more:
                raise Lost
            data += more
        return data


def _templates_secret(pid: int) -> bytes:
    """Read what only those see that may trace the template."""
    return _read(f"/proc/{pid}/fd/{SECRET_FD}")


def _read(path: str) -> bytes:
    # Not waiting: what a descriptor of another's leads to may be a FIFO.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(fd, _MOST_BYTES)
    finally:
        os.close(fd)


def _end_as(status: int) -> NoReturn:
    """End with a wait status, by a signal where that was the end."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if os.WCOREDUMP(status):
            import resource

            # One core is there already, and it is the command's.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != _signal.SIGKILL:
            _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
