"""A union served in another process, for tests that use it through the kernel."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.drivers import mountinfo, mounting
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.union.values import StackSpec
from tests.support.lowers import as_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TIMEOUT_S = 20
_CHECKOUT = Path(__file__).parents[2]

# The driver that a test is about; the `stack` fixture sets it.
with_driver = ContextVar("with_driver", default="auto")


@dataclass(slots=True)
class Daemon:
    """A process that serves, or served."""

    process: subprocess.Popen[bytes]
    target: Path
    expected_words: str = ""  # what it may say on stderr

    @property
    def is_mounted(self) -> bool:
        return mountinfo.topmost(os.fsencode(self.target)) is not None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(_TIMEOUT_S)


@dataclass(slots=True)
class Stack:
    """Directories for one union, made empty."""

    base: Path
    lower: Path = field(init=False)
    upper: Path = field(init=False)
    work: Path = field(init=False)
    target: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "work", "target"):
            directory = self.base / name
            directory.mkdir()
            setattr(self, name, directory)

    @property
    def spec(self) -> StackSpec:
        return StackSpec(
            lower=(os.fsencode(self.lower),),
            upper=os.fsencode(self.upper),
            work=os.fsencode(self.work),
        )

    @property
    def plan(self) -> MountPlan:
        return MountPlan(os.fsencode(self.target))


@contextmanager
def serving(
    spec: StackSpec,
    plan: MountPlan,
    *,
    driver: str | None = None,
    prefix: Sequence[str] = (),
    runner: str = "runner",
) -> Iterator[Daemon]:
    """Serve while inside; leaving ends the daemon, which must not have complained.

    `prefix` is put before the daemon's command line: setpriv, unshare.
    """
    daemon = start(spec, plan, driver=driver, prefix=prefix, runner=runner)
    try:
        yield daemon
    finally:
        words = stop(daemon)
    assert words == daemon.expected_words


def start(
    spec: StackSpec,
    plan: MountPlan,
    *,
    driver: str | None = None,
    prefix: Sequence[str] = (),
    runner: str = "runner",
) -> Daemon:
    """Return a daemon whose mount answers."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", f"tests.drivers.{runner}"],
        cwd=_CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=() if plan.door_fd is None else (plan.door_fd,),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    lower = tuple(os.fsencode(as_served(Path(os.fsdecode(path)))) for path in spec.lower)
    spec = spec._replace(lower=lower)
    with process.stdin:
        pickle.dump((spec, plan, driver or with_driver.get()), process.stdin)
    if process.stdout.readline() != b"ready\n":
        process.wait(_TIMEOUT_S)
        with process.stdout, process.stderr:
            raise AssertionError(process.stderr.read().decode())
    return Daemon(process, Path(os.fsdecode(plan.target)))


def stop(daemon: Daemon) -> str:
    """End a daemon, its mount too, and return what it said on stderr."""
    process = daemon.process
    if process.poll() is None:
        daemon.signal(signal.SIGTERM)
    try:
        daemon.wait()
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if daemon.is_mounted:
        mounting.unmount(os.fsencode(daemon.target), lazy=True)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        return process.stderr.read().decode()


def read_only(spec: StackSpec) -> StackSpec:
    """Return the same stack without its upper."""
    return spec._replace(upper=None, work=None)


def is_copying_up(stack: Stack, daemon: Daemon | None = None) -> bool:
    """Whether a file is being copied to the upper, by that daemon or any."""
    return bool(copies_under_way(stack, "[0-9]*" if daemon is None else daemon.process.pid))


def copies_under_way(stack: Stack, pid: int | str) -> list[str]:
    """Return what a process has open in the workdir that no name shows."""
    links = (_link_of(path) for path in Path("/proc").glob(f"{pid}/fd/*"))
    # In a clone of its mount, as a rule, whose root is the directory above upper and workdir.
    staged = (f"{stack.work}/", f"/{stack.work.name}/")
    return [link for link in links if link.startswith(staged) and link.endswith("(deleted)")]


def _link_of(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # its process has ended, or has closed it
        return ""


def wait_until(condition: Callable[[], bool]) -> bool:
    """Poll until `condition` holds, and say whether it did in time."""
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
