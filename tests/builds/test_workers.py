"""The processes that build stages end when the build does, whatever they are at."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds import workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.builds.workers import Link, Worker

_INTERRUPTED = 128 + signal.SIGINT
_killing: list[int] = []  # what every child gets as soon as it is there


def _kill_child() -> None:
    for number in _killing:
        os.kill(os.getpid(), number)


os.register_at_fork(after_in_child=_kill_child)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The process has a handler of its own for SIGTERM; returns what that was called with."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    _killing.clear()
    signal.signal(signal.SIGTERM, before)


def _waiting() -> Worker:
    def work(link: Link) -> object:
        return link.state(7)  # which never comes

    return workers.start(1, work)  # type: ignore[arg-type]


@pytest.mark.usefixtures("heard")
def test_a_signal_that_comes_during_the_fork_ends_it() -> None:
    _killing.append(signal.SIGTERM)
    worker = _waiting()

    # Of the signal, not of the answer that cannot come any more: that is what `end` adds.
    assert worker._child.wait() == _INTERRUPTED
    worker.end()


def test_one_that_waits_for_an_answer_ends_with_the_build() -> None:
    worker = _waiting()
    other = _waiting()  # which has a copy of the build's end
    assert worker.messages()  # it asks

    assert worker.end() == _INTERRUPTED
    assert other.end() == _INTERRUPTED


def test_the_builds_own_handling_of_signals_is_what_it_was(heard: list[int]) -> None:
    _waiting().end()

    os.kill(os.getpid(), signal.SIGTERM)

    assert heard == [signal.SIGTERM]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
