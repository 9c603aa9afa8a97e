"""A command that a template's child becomes: nothing in it is left of the template but its code."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import namespaces, process_title
from overlayfs_py.warm import client

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

_FIRST_OTHER_FD = 3
# What Python itself ignores, at its start.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_UNTOUCHABLE = (signal.SIGKILL, signal.SIGSTOP)
# What a template has handlers for; all others are as `usual_signals` has left them.
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Errand(NamedTuple):
    """What a client has handed over, and what /proc has shown of it."""

    words: Sequence[bytes]
    environment: Sequence[bytes]  # NAME=VALUE
    streams: tuple[int, int, int]
    directory: int  # O_PATH
    umask: int
    shown: Sequence[bytes]  # the words that ps(1) shows, which begin with the interpreter
    name: bytes  # what else it shows


def become(
    errand: Errand,
    connection: socket.socket,
    template_pid: int,
    environ: MutableMapping[bytes, bytes],
) -> None:
    """Be the process of that command, in a child that has just been forked; say that it has begun.

    It ends with the template, at once, and so does whoever waits for it. Closes all other
    descriptors: whoever owns a number must have let go of it.

    Raises:
        OSError: something cannot be had, and nothing has begun.
    """
    # Until `release` nothing interrupts this, and no handler of the template's runs here.
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    namespaces.signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != template_pid:
        os._exit(client.LOST)
    # In the template's session, so that SIGTSTP stops it (setpgid(2), "orphaned").
    os.setpgid(0, 0)
    _forget_handlers(CAUGHT)
    os.fchdir(errand.directory)
    os.umask(errand.umask)
    for number, fd in enumerate(errand.streams):
        os.dup2(fd, number)
    _renew_streams()
    _take_environment(environ, errand.environment)
    sys.argv[:] = [os.fsdecode(word) for word in errand.words]
    sys.orig_argv[:] = [os.fsdecode(word) for word in errand.shown]
    process_title.show(errand.shown, errand.name)
    own = os.pidfd_open(os.getpid())
    socket.send_fds(connection, [client.BEGUN], [own])
    connection.detach()
    os.closerange(_FIRST_OTHER_FD, os.sysconf("SC_OPEN_MAX"))


def _take_environment(environ: MutableMapping[bytes, bytes], pairs: Sequence[bytes]) -> None:
    # Each change of it touches pages that are the template's, too; it is often the same.
    if [b"%b=%b" % pair for pair in environ.items()] == pairs:
        return
    environ.clear()
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        environ[name] = value


def release() -> None:
    """Let signals come to what has been a template's child until now."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def usual_signals() -> None:
    """Have each signal do what it does to a Python program whose caller ignores none."""
    _forget_handlers(signal.valid_signals() - set(_UNTOUCHABLE))
    release()


def _forget_handlers(numbers: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN if number in _IGNORED else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _renew_streams() -> None:
    """Make new text streams: each knows of its file whether it can seek, and what it takes at once.

    As Python makes them at its start (Python/pylifecycle.c, create_stdio).
    """
    for fd, (name, mode) in enumerate((("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb"))):
        like = getattr(sys, name)
        assert isinstance(like, io.TextIOWrapper)
        stream = _stream(fd, f"<{name}>", mode, like)
        setattr(stream, "mode", mode[0])  # noqa: B010 - the types forbid it
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(fd: int, name: str, mode: str, like: io.TextIOWrapper) -> io.TextIOWrapper:
    buffer = open(fd, mode, 0 if like.write_through else -1, closefd=False)  # noqa: SIM115
    setattr(getattr(buffer, "raw", buffer), "name", name)  # noqa: B010 - the types forbid it
    return io.TextIOWrapper(
        buffer,
        like.encoding,
        like.errors,
        newline="\n",
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )
