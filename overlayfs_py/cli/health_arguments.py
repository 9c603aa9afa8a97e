"""Options of `run` and `create` on how to find out whether a container works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.store.containers import Health

_TIMES = ("interval", "timeout", "start_period", "start_interval")
_SHORTEST_NS = 1_000_000  # docker's


def healthcheck(
    line: str | None, times: Mapping[str, str | None], retries: int, *, none: bool
) -> Health | None:
    """What the options ask for; what they leave out is the image's, or docker's default."""
    from overlayfs_py.store.containers import Health

    values = {f"{name}_ns": _time(name, times[name]) for name in _TIMES}
    if none and (line is not None or any(values.values()) or retries):
        raise OptionError("--no-healthcheck", "conflicts with --health-*")
    if retries < 0:
        raise OptionError("--health-retries", f"{retries}: less than 0")
    if line is None and not retries and not any(values.values()):
        return None
    test = () if line is None else ("CMD-SHELL", line)
    return Health(test=test, retries=retries, **values)


def _time(name: str, text: str | None) -> int:
    from overlayfs_py.durations import parse_duration

    option = f"--health-{name.replace('_', '-')}"
    if text is None or text == "0":
        return 0
    try:
        found = parse_duration(text)
    except ValueError:
        raise OptionError(option, f"{text}: not a time as 30s or 1m30s") from None
    if 0 < found < _SHORTEST_NS:
        raise OptionError(option, f"{text}: less than 1ms")
    return found
