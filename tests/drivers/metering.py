"""How many requests of each kind the kernel sent to a daemon, as the daemon counts them."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.drivers.serving import Daemon

# Sent some time later, when memory is short or a close is finished: nobody waits for them.
_UNTIMED = ("forget", "batch_forget", "release")


class Report(NamedTuple):
    """What a daemon says of itself."""

    messages: Counter[str]
    nodes: int


def report(daemon: Daemon) -> Report:
    """Ask a daemon of the direct driver, which stderr must be the pipe of."""
    assert daemon.process.stderr is not None
    daemon.signal(signal.SIGUSR1)
    line = daemon.process.stderr.readline().decode()
    told = cast("dict[str, object]", json.loads(line[line.index("{") :]))
    messages = Counter(cast("dict[str, int]", told["messages"]))
    return Report(messages, cast("int", told["nodes"]))


@contextmanager
def metering(daemon: Daemon) -> Iterator[dict[str, int]]:
    """Fill in what the body made the kernel ask, when it is over."""
    spent: dict[str, int] = {}
    before = report(daemon).messages
    yield spent
    after = report(daemon).messages - before
    spent |= {name: count for name, count in after.items() if name not in _UNTIMED}
