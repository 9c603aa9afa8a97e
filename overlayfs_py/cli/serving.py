"""Serve a mount in the foreground, or in the background once it answers."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from overlayfs_py.cli.errors import say
from overlayfs_py.containers import children

if TYPE_CHECKING:
    from overlayfs_py.backends.mount_options import MountRequest
    from overlayfs_py.containers.children import Report

DRIVERS = ("auto", "direct", "pyfuse3")
_SYSLOG = "/dev/log"


def serve(
    program: str,
    request: MountRequest,
    *,
    driver: str,
    foreground: bool,
    debug: bool = False,
    scratch_below: bytes | None = None,
) -> None:
    """Mount what was asked for; returns when it is unmounted, or once it answers.

    With `scratch_below`, a directory, changes go to an upper there that is thrown away.

    Raises:
        Failure: it cannot be mounted. No process of ours is left then.
        OSError: likewise, in the foreground.
    """
    for name in request.unknown:
        say(program, f"{name}: unknown option, ignored")
    if debug:
        logging.getLogger().setLevel(logging.DEBUG)
    if foreground or debug:
        _serve(request, driver, None, scratch_below)
    else:
        _serve_in_background(request, driver, scratch_below)


def _serve_in_background(request: MountRequest, driver: str, scratch_below: bytes | None) -> None:
    daemon = children.start(lambda report: _serve(request, driver, report, scratch_below))
    try:
        daemon.ready()
    except KeyboardInterrupt:
        # It heard ^C as well, unless it had just left the terminal.
        daemon.kill(signal.SIGTERM)
        daemon.wait()
        raise
    # The mount is there and will stay: nobody shall be told that the command was interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(
    request: MountRequest, driver: str, report: Report | None, scratch_below: bytes | None
) -> None:
    # Only here: the parent of a daemon need not wait for trio and pyfuse3 to load.
    from overlayfs_py.drivers import service

    def on_ready() -> None:
        if report is not None:
            _detach(report)

    with ExitStack() as stack:
        spec = request.stack
        if scratch_below is not None:
            from overlayfs_py.containers.scratch import scratch_directory
            from overlayfs_py.containers.uppers import throwaway_upper

            scratch = stack.enter_context(scratch_directory(scratch_below))
            spec = throwaway_upper(spec, scratch)
        service.serve(spec, request.plan, driver=driver, on_ready=on_ready)


def _detach(report: Report) -> None:
    """Let go of the terminal and the caller's files; until here ^C ends this process too."""
    os.setsid()
    os.chdir("/")
    _log_to_syslog()
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)
    if not report.ready():
        # Whoever asked for the mount was killed and will not unmount it either.
        os.kill(os.getpid(), signal.SIGTERM)


def _log_to_syslog() -> None:
    """Say to the system's log what stderr would have heard; where there is none, to nobody."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    if os.path.exists(_SYSLOG):
        from logging.handlers import SysLogHandler  # which brings pickle and queues along

        handler = SysLogHandler(_SYSLOG)
        handler.setFormatter(logging.Formatter("overlayfs-py[%(process)d]: %(message)s"))
        root.addHandler(handler)
    else:
        root.addHandler(logging.NullHandler())
