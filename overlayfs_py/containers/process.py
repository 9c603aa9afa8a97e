"""A program in a container: its words, environment, user and directory, and how it is started."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.containers import accounts, signals
from overlayfs_py.errors import Failure
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import namespaces, terminals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from overlayfs_py.containers.accounts import Account
    from overlayfs_py.containers.rights import Rights
    from overlayfs_py.containers.working_directory import WorkingDirectory
    from overlayfs_py.mounts.children import Report

CANNOT_RUN = 126  # as env(1), chroot(1) and every shell
NOT_FOUND = 127
_UMASK = 0o022  # docker's, whatever the caller's is
_HOME = b"HOME"

log = logging.getLogger(__name__)


class Process(NamedTuple):
    """What to run. Nothing of it holds a NUL."""

    words: tuple[bytes, ...]
    environment: Mapping[bytes, bytes]  # all of it but HOME, which the user's entry gives
    directory: WorkingDirectory
    user: str = ""  # as `accounts.find_account` takes it
    # An image's user is a wish: where a namespace has one id, that is what there is.
    user_is_wish: bool = False
    groups: tuple[str, ...] = ()  # besides the user's own

    def account(self) -> Account:
        """Whom it runs as; to be called where / is the container's."""
        return accounts.find_account(self.user, self.groups)


class Terminal(NamedTuple):
    """A container's own terminal, and which of a process's descriptors 0 to 2 it is."""

    slave: int
    numbers: Collection[int]

    def take(self) -> None:
        """Let it be this process's stdin, stdout, stderr, those that it is meant to be."""
        for number in self.numbers:
            os.dup2(self.slave, number)


def fork(
    process: Process,
    rights: Rights,
    account: Account,
    terminal: Terminal | None,
    mask: set[int],
    report: Report,
) -> int:
    """Start it in a session of its own, and return its pid."""
    pid = os.fork()
    if not pid:
        os.setsid()
        become(process, rights, account, terminal, mask, report)
    return pid


def become(
    process: Process,
    rights: Rights,
    account: Account,
    terminal: Terminal | None,
    mask: set[int],
    report: Report,
) -> NoReturn:
    """Become it, or report why that cannot be and end; this process leads its session.

    `rights` have been taken; they are what it is confined to.
    """
    try:
        if terminal is not None:
            os.fchown(terminal.slave, account.uid, -1)
            terminals.become_controlling(terminal.slave)
        os.umask(_UMASK)
        _take_account(process, account)
        # The kernel forgets it where ids change (commit_creds of kernel/cred.c).
        namespaces.signal_when_parent_dies(signal.SIGKILL)
        signals.restore_for_command(mask)
        rights.confine()
        _execute(process, account)
    except Failure as failure:
        report.failed(failure)
        sys.stderr.flush()
        os._exit(failure.exit_code)


def _take_account(process: Process, account: Account) -> None:
    try:
        accounts.become(account)
    except Failure as failure:
        if not process.user_is_wish or process.groups:
            raise
        log.warning("%s; it runs as root instead", failure)


def _execute(process: Process, account: Account) -> NoReturn:
    environment = {_HOME: os.fsencode(account.home), **process.environment}
    program = process.words[0]
    try:
        os.execvpe(program, process.words, environment)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
        shown = os.fsdecode(program) or "''"
        raise Failure(f"{shown}: {error.strerror}", code) from error
    except ValueError as error:  # of an empty word, which no path leads to
        raise Failure(
            f"{os.fsdecode(program)!r}: {os.strerror(errno.ENOENT)}", NOT_FOUND
        ) from error
