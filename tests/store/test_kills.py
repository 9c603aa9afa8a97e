"""Whatever system call of a change is the process's last, the store is sound, and does it again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.store.changes import CHANGES, prepare
from tests.store.states import files, names, require_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_OS_CALLS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "ftruncate")
_OPEN = os.open
_RANDOM_KILLS = 25


class _Countdown:
    """Ends the process before or after so many more calls that change a filesystem."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def after(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            if call is _OPEN and not int(args[1]) & os.O_CREAT:
                return call(*args, **kwargs)
            answer = call(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                os._exit(1)
            return answer

        return counted


def _forked(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException:  # a child of a test must never become a second pytest
            os._exit(3)
        os._exit(0)
    return pid


def _killed_after(calls: int, root: Path, change: Callable[[Store], object]) -> bool:
    """Do a change in a process that dies after so many calls; False where it got through."""

    def run() -> None:
        countdown = _Countdown(calls)
        for name in _OS_CALLS:
            setattr(os, name, countdown.after(getattr(os, name)))
        change(Store.open(root))

    status = os.waitstatus_to_exitcode(os.waitpid(_forked(run), 0)[1])
    assert status in (0, 1)
    return status == 1


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A filesystem that waits for no disk: every change here is followed by an fsync."""
    mounts.mount(b"tmpfs", os.fsencode(tmp_path), b"tmpfs", 0, b"size=64m")
    yield tmp_path
    mounts.umount(os.fsencode(tmp_path), mounts.MNT_DETACH)


@pytest.fixture
def prepared(place: Path) -> Path:
    prepare(Store.open(place / "prepared"))
    return place / "prepared"


def _copy(prepared: Path, root: Path) -> Store:
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(prepared, root)
    return Store.open(root)


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_leaves_a_sound_store(prepared: Path, root: Path, change: str) -> None:
    store = _copy(prepared, root)
    before = names(store)
    CHANGES[change](store)
    store.collect()
    after, left = names(store), files(store)

    calls, killed = 1, True
    while killed:
        store = _copy(prepared, root)
        killed = _killed_after(calls, root, CHANGES[change])
        assert [str(problem) for problem in store.check()] == [], calls
        shown = names(store)
        assert all(shown.get(name) in (before.get(name), after.get(name)) for name in shown), calls
        CHANGES[change](store)
        require_sound(store)
        assert (names(store), files(store)) == (after, left), calls
        calls += 1
    assert calls > 3


def test_a_kill_while_a_store_is_made_leaves_none_or_one(place: Path) -> None:
    calls, killed = 1, True
    while killed:
        root = place / str(calls)
        killed = _killed_after(calls, root, lambda _: None)
        require_sound(Store.open(root))
        calls += 1
    assert calls > 10


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_moment_leaves_a_sound_store(prepared: Path, root: Path, change: str) -> None:
    dice = random.Random(change)
    for _ in range(_RANDOM_KILLS // 5):
        store = _copy(prepared, root)
        pid = _forked(lambda: [CHANGES[change](Store.open(root)) for _ in range(20)])
        time.sleep(dice.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert [str(problem) for problem in store.check()] == []
        CHANGES[change](store)
        require_sound(store)
