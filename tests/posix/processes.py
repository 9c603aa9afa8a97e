"""Parts of a check that run in another process: as another user, or at the same time."""

from __future__ import annotations

import os
import pickle
import select
import signal
import traceback
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Result = TypeVar("Result")

_DEADLINE_S = 30

ALICE = 1000  # uid and gid of an ordinary user
BOB = 1001


class Child:
    """A forked process that computes one value."""

    def __init__(self, function: Callable[[], object]) -> None:
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as answers:
                _answer(function, answers)
            # Not through the interpreter's exit: the test run's open files are not ours to flush.
            os._exit(0)
        os.close(write_end)
        self._answers: IO[bytes] = os.fdopen(read_end, "rb")

    def result(self) -> Any:  # noqa: ANN401 - it is the function's
        """Wait; return what the function returned, or raise what it raised."""
        with self._answers:
            in_time, _, _ = select.select([self._answers], [], [], _DEADLINE_S)
            if not in_time:
                os.kill(self.pid, signal.SIGKILL)
            raw = self._answers.read()
        os.waitpid(self.pid, 0)
        assert in_time, f"the child did not answer within {_DEADLINE_S} s"
        assert raw, "the child died without an answer"
        value, error = pickle.loads(raw)
        if error is not None:
            raise error
        return value


def _answer(function: Callable[[], object], answers: IO[bytes]) -> None:
    try:
        pickle.dump((function(), None), answers)
    except (OSError, AssertionError) as error:
        pickle.dump((None, error), answers)
    except BaseException:
        pickle.dump((None, RuntimeError(traceback.format_exc())), answers)


def in_child(function: Callable[[], Result]) -> Result:
    """Run `function` in another process and return or raise what it does."""
    return Child(function).result()


def as_user(
    function: Callable[[], Result],
    uid: int = ALICE,
    gid: int | None = None,
    *,
    groups: Sequence[int] = (),
) -> Result:
    """Run `function` in another process that belongs to an ordinary user."""

    def run() -> Result:
        own = uid if gid is None else gid
        os.setgroups([own, *groups])
        os.setresgid(own, own, own)
        os.setresuid(uid, uid, uid)
        return function()

    return in_child(run)


def together(functions: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run all at once, each in its own process; each waits until all are there."""
    read_end, write_end = os.pipe()

    def gated(function: Callable[[], Result]) -> Callable[[], Result]:
        def run() -> Result:
            os.close(write_end)
            os.read(read_end, 1)  # the end of file, when the parent closes its end
            return function()

        return run

    children = [Child(gated(function)) for function in functions]
    os.close(write_end)
    try:
        return [child.result() for child in children]
    finally:
        os.close(read_end)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
