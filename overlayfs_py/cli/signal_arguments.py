"""Signals as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError

if TYPE_CHECKING:
    import signal


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
