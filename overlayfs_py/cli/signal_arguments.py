"""Signals as people name them, and the options of commands that end containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.store_arguments import root_option

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from overlayfs_py.store.containers import ContainerRecord

_TIMEOUT = click.option(
    "-t",
    "--time",
    "--timeout",
    "timeout",
    type=int,
    metavar="SECONDS",
    help="How long to wait before it is killed; -1: for ever.  [default: 10]",
)
_SIGNAL = click.option("-s", "--signal", "signal_name", metavar="SIGNAL", help="What to send.")
_CONTAINERS = click.argument("containers", nargs=-1, required=True, type=CONTAINER)


def stop_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options and the arguments of `stop`."""
    return root_option(_TIMEOUT(_SIGNAL(_CONTAINERS(command))))


def stop_signal(name: str | None, record: ContainerRecord) -> signal.Signals:
    """Return the signal that is asked for, or the container's own.

    Raises:
        OptionError: there is none of that name.
    """
    return signal_of(name or record.stop_signal)


def signal_of(text: str) -> signal.Signals:
    """Return the signal that `TERM`, `SIGTERM` or `15` means.

    Raises:
        OptionError: there is none.
    """
    from overlayfs_py.containers.creation import parse_signal

    try:
        return parse_signal(text)
    except ValueError:
        raise OptionError("--signal", f"{text}: there is no such signal") from None
