"""Serve a mount in the foreground, or in the background once it answers."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.errors import say
from overlayfs_py.mounts import daemon
from overlayfs_py.mounts.lease import held

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.backends.mount_options import MountRequest


def serve(
    program: str,
    request: MountRequest,
    *,
    driver: str,
    foreground: bool,
    debug: bool = False,
    scratch_below: bytes | None = None,
    callers_fds: frozenset[int] | None = None,
) -> None:
    """Mount what was asked for; returns when it is unmounted, or once it answers or is changed.

    With `scratch_below`, a directory, changes go to an upper there that is thrown away.
    `callers_fds` are the descriptors that the daemon is not to keep: all that are open now, unless
    the caller has opened some that the mount needs.

    Raises:
        Failure: it cannot be mounted. No process of ours is left then.
        OSError: likewise, in the foreground.
    """
    for warning in request.unknown:
        say(program, warning)
    if request.remount is not None:
        from overlayfs_py.drivers.remounting import remount

        remount(request.plan.target, request.remount)
        return
    stack = request.stack
    if stack.upper_limit is not None and stack.upper is None and scratch_below is None:
        raise OptionError("upper_limit", "there is no upperdir that it could be the limit of")
    if debug:
        logging.getLogger().setLevel(logging.DEBUG)
    inherited = daemon.open_descriptors() if callers_fds is None else callers_fds
    with held(request.lease):
        if foreground or debug:
            _serve(request, driver, lambda: None, scratch_below)
        else:
            _serve_in_background(request, driver, scratch_below, inherited)


def _serve_in_background(
    request: MountRequest, driver: str, scratch_below: bytes | None, callers_fds: frozenset[int]
) -> None:
    child = daemon.start(
        lambda on_ready: _serve(request, driver, on_ready, scratch_below),
        daemon.Until.KILLED,
        callers_fds,
    )
    try:
        child.ready()
    except KeyboardInterrupt:
        child.kill(signal.SIGTERM)
        child.wait()
        raise
    # The mount is there and will stay: nobody shall be told that the command was interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(
    request: MountRequest, driver: str, on_ready: Callable[[], None], scratch_below: bytes | None
) -> None:
    # Only here: the parent of a daemon need not wait for trio and pyfuse3 to load.
    from overlayfs_py.drivers import service

    with ExitStack() as stack:
        spec = request.stack
        if scratch_below is not None:
            from overlayfs_py.mounts.scratch import scratch_directory
            from overlayfs_py.mounts.uppers import throwaway_upper

            scratch = stack.enter_context(scratch_directory(scratch_below))
            spec = throwaway_upper(spec, scratch)
        service.serve(spec, request.plan, driver=driver, on_ready=on_ready)
