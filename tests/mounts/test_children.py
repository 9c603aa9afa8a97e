from __future__ import annotations

import errno
import logging
import os
import select
import signal
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import BUG, CorruptLayer, Failure
from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.mounts.children import Report


def test_a_child_says_that_it_is_ready_and_what_for() -> None:
    def work(report: Report) -> int:
        report.ready(b"here\xff")
        return 7

    child = children.start(work)

    assert child.ready() == b"here\xff"
    assert child.wait() == 7
    assert child.wait() == 7  # known by now


def raise_missing(_: Report) -> None:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", b"dir/caf\xe9")


def raise_corrupt(_: Report) -> None:
    raise CorruptLayer(b"etc/x", "both a file and a whiteout")


def raise_failure(_: Report) -> None:
    raise Failure("thing: does not work", 9)


@pytest.mark.parametrize(
    ("work", "words", "code"),
    [
        (raise_missing, r"dir/caf\xe9: No such file or directory", 1),
        (raise_corrupt, "etc/x: both a file and a whiteout", 20),
        (raise_failure, "thing: does not work", 9),
    ],
)
def test_a_childs_failure_is_the_parents(
    work: Callable[[Report], None], words: str, code: int
) -> None:
    with pytest.raises(Failure) as caught:
        children.start(work).ready()

    assert str(caught.value) == words
    assert caught.value.exit_code == code


def test_a_child_that_dies_without_a_word_is_a_failure() -> None:
    def die(_: Report) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Failure, match="killed by SIGKILL") as caught:
        children.start(die).ready()

    assert caught.value.exit_code == 128 + signal.SIGKILL


def test_a_bug_in_a_child_shows_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def stumble(_: Report) -> None:
        raise KeyError("unforeseen")

    child = children.start(stumble)

    assert child.word() is None
    assert child.wait() == BUG
    assert "KeyError: 'unforeseen'" in capfd.readouterr().err


def test_a_failure_after_the_word_goes_to_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    def fail_late(report: Report) -> None:
        logging.basicConfig(force=True, format="%(message)s")
        report.ready()
        raise Failure("too: late", 3)

    child = children.start(fail_late)

    child.ready()
    assert child.wait() == 3
    assert capfd.readouterr().err == "too: late\n"


def test_a_child_that_execs_has_no_word_and_runs() -> None:
    child = children.start(lambda _: os.execv("/bin/sh", ["sh", "-c", "exit 5"]))

    assert child.word() is None
    assert child.wait() == 5


def test_a_child_dies_with_its_parent() -> None:
    def parent(report: Report) -> None:
        own_fd = os.pidfd_open(os.getpid())

        def grandchild(inner: Report) -> None:
            children.die_with(own_fd, signal.SIGTERM)
            inner.ready()
            signal.pause()

        young = children.start(grandchild)
        young.ready()
        report.ready(b"%d" % young.pid)
        signal.pause()

    middle = children.start(parent)
    grandchild_fd = os.pidfd_open(int(middle.ready()))
    middle.kill(signal.SIGKILL)
    middle.wait()

    ended, _, _ = select.select([grandchild_fd], [], [], 10)
    os.close(grandchild_fd)
    assert ended


def test_a_child_of_a_dead_parent_dies_at_once() -> None:
    dead = children.start(lambda _: 0)
    dead_fd = os.pidfd_open(dead.pid)
    dead.wait()

    def work(_: Report) -> int:
        children.die_with(dead_fd, signal.SIGTERM)
        return 0

    child = children.start(work)

    assert child.wait() == 128 + signal.SIGTERM
    os.close(dead_fd)


_sent_at_birth: list[int] = []  # what a child gets before it is one of Python's


def _send() -> None:
    for number in _sent_at_birth:
        os.kill(os.getpid(), number)


# Where it forgets what a handler raises, as it forgets what comes before its own work in a child.
os.register_at_fork(after_in_child=_send)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_during_the_fork_is_heard(number: signal.Signals) -> None:
    heard = signal.signal(number, signal.default_int_handler)
    _sent_at_birth.append(number)
    try:
        child = children.start(lambda report: report.ready() and signal.pause())
        ended = child.ends_within(10)
    finally:
        _sent_at_birth.clear()
        signal.signal(number, heard)
        child.kill(signal.SIGKILL)

    assert ended
    assert child.wait() == 128 + signal.SIGINT
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_an_interruption_during_the_fork_ends_the_child() -> None:
    """It was sent to the parent alone, and raises there before anybody has the child."""
    ended, not_yet = os.pipe()

    def work(_: Report) -> None:
        os.close(ended)
        signal.pause()

    def fork_interrupted() -> int:
        signal.raise_signal(signal.SIGINT)
        return os.fork()

    with pytest.raises(KeyboardInterrupt):
        children.start(work, fork_interrupted)
    os.close(not_yet)

    assert select.select([ended], [], [], 10)[0], "the child still has the other end"
    os.close(ended)
