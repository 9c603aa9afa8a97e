"""Options of `run` and `create` on a container's output, and facts for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_DRIVERS = ("json-file", "none")
_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def log_driver(text: str) -> str:
    """How the output is kept."""
    if text not in _LOG_DRIVERS:
        raise OptionError("--log-driver", f"{text}: {' or '.join(_LOG_DRIVERS)}")
    return text


def facts(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """K=V of each; the last of a name counts."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise OptionError("--annotation", f"{text}: not of the form K=V")
        found.append((name, value))
    return tuple(found)


def attached(texts: Sequence[str], *, detach: bool) -> frozenset[int]:
    """Which of a command's three streams the caller has; all, where nothing is said."""
    if texts and detach:
        raise OptionError("--attach", "conflicts with --detach")
    for text in texts:
        if text.lower() not in _STREAMS:
            raise OptionError("--attach", f"{text}: stdin, stdout or stderr")
    return frozenset(_STREAMS[text.lower()] for text in texts) or frozenset({0, 1, 2})
