"""One mount: where it lies, the daemon that serves it, and its end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks.processes import FailedError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scripts.benchmarks.stacks import Stack

_PATIENCE_S = 60
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Place:
    """Directories for one mount, empty at first."""

    base: Path
    stack: Stack
    is_read_only: bool = False  # the mount has no upper then

    @property
    def target(self) -> Path:
        """Where it is mounted."""
        return self.base / "merged"

    @property
    def upper(self) -> Path:
        """Where changes go."""
        return self.base / "upper"

    @property
    def work(self) -> Path:
        """Where changes are prepared."""
        return self.base / "work"

    @property
    def log(self) -> Path:
        """What the daemon says on stderr."""
        return self.base / "log"

    def make(self) -> None:
        """Make the directories."""
        for directory in (self.target, self.upper, self.work):
            directory.mkdir(parents=True)

    def lower_option(self) -> str:
        """Return the option that names the layers."""
        return f"lowerdir={':'.join(map(str, self.stack.layers))}"

    def overlay_options(self) -> str:
        """Return the options that kernel overlayfs and all its imitations share."""
        lower = self.lower_option()
        if self.is_read_only:
            return lower
        return f"{lower},upperdir={self.upper},workdir={self.work}"


@dataclass(frozen=True, slots=True)
class Report:
    """What our daemon says about itself at SIGUSR1."""

    messages: Counter[str]
    nodes: int


class Daemon:
    """A process in the foreground that serves a place."""

    def __init__(self, command: Sequence[str | Path], place: Place) -> None:
        with place.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._log = place.log

    @property
    def words(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        # The clock of another process, in nanoseconds (/proc has hundredths of a second): its
        # number is made of the pid, as clock_getcpuclockid(3) does; 2 is CPUCLOCK_SCHED.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Return how much of it lies in memory, without files it has mapped."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
        raise FailedError("the daemon has gone")

    def report(self) -> Report:
        """Ask the daemon, which must be our direct driver's, for its counts."""
        told = self.words.count("\n")
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.words.count("\n") > told, "the daemon reports nothing")
        line = self.words.splitlines()[told]
        values = json.loads(line[line.index("{") :])
        return Report(Counter(values["messages"]), values["nodes"])

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Let what fails inside say as well what the daemon has said."""
        try:
            yield
        except (FailedError, OSError) as error:
            words = self.words.strip()
            raise FailedError(f"{error}\nits daemon said: {words or 'nothing'}") from error

    def kill(self) -> None:
        """End it at once; whoever waits for an answer gets ENOTCONN."""
        self._process.kill()

    def wait(self) -> None:
        """Wait for its end, which unmounting has brought about."""
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()


@contextmanager
def serving(command: Sequence[str | Path], place: Place) -> Iterator[Daemon]:
    """Let a daemon serve a place while inside."""
    daemon = Daemon(command, place)
    try:
        wait_until(
            lambda: is_mount_point(place.target) or not daemon.is_running, "it does not mount"
        )
        if not is_mount_point(place.target):
            raise FailedError(f"cannot mount: {daemon.words.strip()}")
        with daemon.blamed():
            place.target.stat()  # waits for an answer
            yield daemon
    finally:
        unmount(place.target)
        daemon.wait()


def unmount(target: Path) -> None:
    """Unmount what is there, whatever state it is in."""
    if not is_mount_point(target):
        return
    try:
        wait_until(lambda: _try_unmount(target), f"{target} stays busy")
    except FailedError:
        run(["umount", "--lazy", target])


def is_mount_point(target: Path) -> bool:
    """Return whether something is mounted there; asks the kernel, not a daemon that may be dead."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(target) for line in mounts)


def _try_unmount(target: Path) -> bool:
    return subprocess.run(["umount", target], capture_output=True, check=False).returncode == 0


def wait_until(condition: Callable[[], bool], complaint: str) -> None:
    """Poll until a condition holds; fail if that takes too long."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise FailedError(complaint)
        time.sleep(_PAUSE_S)


def remove(place: Place) -> None:
    """Remove what a mount has left on the disk."""
    run(["rm", "-rf", place.base])
