"""A container that this command starts, or attaches to: in the background, or before the user."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.containers import detach_keys, life, signals
from overlayfs_py.containers.attachment import Attachment
from overlayfs_py.containers.users_terminal import UsersTerminal
from overlayfs_py.errors import Failure, describe, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from overlayfs_py.containers.session import Extra
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_CANNOT_START = 125  # what failed is ours, not the command: docker's
_OF_A_COMMAND = (126, 127)
_KILLED = 137
_STREAMS = frozenset({0, 1, 2})
_OUTPUTS = frozenset({1, 2})
_NO_TERMINAL = "-t: the input device is not a TTY"


@contextmanager
def starting() -> Iterator[None]:
    """Let what fails here end with an exit code that no command means by it."""
    try:
        yield
    except OSError as error:
        code = exit_code_of(error)
        if code in _OF_A_COMMAND:
            raise
        raise Failure(describe(error), _CANNOT_START) from error


def start_detached(store: Store, record: ContainerRecord, callers_fds: frozenset[int]) -> None:
    """Start a container and leave it."""
    life.start(store, record, callers_fds).ready()


def run(
    store: Store,
    record: ContainerRecord,
    callers_fds: frozenset[int],
    *,
    passes_signals: bool = True,
    streams: Collection[int] = _STREAMS,
    keys: bytes = detach_keys.DEFAULT,
) -> int:
    """Start a container, show what it writes, and return its exit status.

    Of its three streams those alone are the caller's that are in `streams`. 0 if the user detaches,
    with `keys`.
    """
    _require_terminal(record)
    ours, monitors = socket.socketpair()
    # A signal that comes from here on is for the command.
    mask = signals.block()
    with starting():
        child = life.start(store, record, callers_fds | {ours.fileno()}, monitors, mask)
        monitors.close()
        life.request(ours, {"do": "attach"})
        child.ready()
    attachment = _attachment(
        record, ours, streams=streams, passes_signals=passes_signals, keys=keys
    )
    status = attachment.run()
    if attachment.has_detached:
        return 0
    # Until all is cleaned up: what comes next may remove it, or take its name.
    child.wait()
    # The monitor was killed where there is none: what it left says how.
    return life.state_of(store, record).exit_code if status is None else status


def run_extra(store: Store, extra: Extra, callers_fds: frozenset[int], keys: bytes) -> int:
    """Run one more command in a container, show what it writes, and return its exit status."""
    from overlayfs_py.containers import session

    if extra.tty and extra.stdin_open and not os.isatty(sys.stdin.fileno()):
        raise Failure(_NO_TERMINAL, 1)
    ours, sessions = socket.socketpair()
    mask = signals.block()
    child = session.start(store, extra, sessions, callers_fds | {ours.fileno()}, mask)
    sessions.close()
    life.request(ours, {"do": "attach"})
    child.ready()
    terminal = UsersTerminal.find(always=False) if extra.tty else None
    attachment = Attachment(ours, terminal, stdin=extra.stdin_open, keys=keys)
    status = attachment.run()
    if attachment.has_detached:
        return 0
    child.wait()
    return _KILLED if status is None else status  # its session was, and so was it


def attach(
    store: Store, record: ContainerRecord, *, stdin: bool, passes_signals: bool, keys: bytes
) -> int:
    """Show what a container that runs writes, and return its exit status."""
    signals.block()
    sock = life.attach(store, record)
    streams = _STREAMS if stdin else _OUTPUTS
    attachment = _attachment(
        record, sock, streams=streams, passes_signals=passes_signals, keys=keys
    )
    status = attachment.run()
    if attachment.has_detached:
        return 0
    store.containers.wait_until_free(record)
    return life.state_of(store, record).exit_code if status is None else status


def _attachment(
    record: ContainerRecord,
    sock: socket.socket,
    *,
    streams: Collection[int],
    passes_signals: bool,
    keys: bytes,
) -> Attachment:
    return Attachment(
        sock,
        UsersTerminal.find(always=False) if record.tty else None,
        stdin=0 in streams and record.stdin_open,
        shown=_OUTPUTS & frozenset(streams),
        passes_signals=passes_signals,
        keys=keys,
    )


def _require_terminal(record: ContainerRecord) -> None:
    if record.tty and record.stdin_open and not os.isatty(sys.stdin.fileno()):
        raise Failure(_NO_TERMINAL, 1)
