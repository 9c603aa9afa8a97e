"""A container that runs for this program."""

from __future__ import annotations

import os
import re
import signal as signals
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

from overlayfs_py.api.files import ContainerPath
from overlayfs_py.api.programs import Companion, command_line, failure, run_command
from overlayfs_py.containers import life, output_log
from overlayfs_py.containers.state import Status
from overlayfs_py.errors import Failure, OverlayError
from overlayfs_py.store import stacks
from overlayfs_py.store.failures import NotInStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from overlayfs_py.containers.state import State
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_LIVING = frozenset({Status.RUNNING, Status.PAUSED, Status.RESTARTING})
_LOOK_AGAIN_S = 0.02
_SHOWN_LINES = 5  # of the output of one that ended too early
_PUBLISHED = re.compile(r":(\d+)->(\d+)/tcp")
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_OUR_LINE = b"overlayfs-py: "
_OURS = 125  # docker's exit code for what is not the command's failure


class Result(NamedTuple):
    """What a command in a container left."""

    exit_code: int
    stdout: str
    stderr: str


class WaitTimeout(OverlayError, TimeoutError):
    """What was waited for did not come in time."""

    def __init__(self, name: str, what: str, seconds: float) -> None:
        super().__init__(None, f"{what} did not come within {seconds:g} s", name)


class Ended(Failure):
    """A container ended before what was waited for came."""


class Container:
    """A container. All methods may be called from any thread; none forks this process."""

    def __init__(self, store: Store, record: ContainerRecord, companion: Companion) -> None:
        self._store = store
        self._record = record
        self._companion = companion
        self._log = store.containers.directory(record.id) / output_log.FILE

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def image(self) -> str:
        """Its image, as it was named."""
        return self._record.image

    @property
    def status(self) -> str:
        """What docker calls it: created, running, paused, restarting, exited; or removed."""
        return "removed" if self._is_removed else self._state().status.value

    @property
    def pid(self) -> int | None:
        """Its first process, as the host counts; None where it does not run."""
        return self._state().pid or None

    @property
    def exit_code(self) -> int | None:
        """What its command ended with; None while it runs."""
        state = self._state()
        return None if state.status in _LIVING else state.exit_code

    @property
    def fs(self) -> ContainerPath:
        """Its root directory: `c.fs / "etc/motd"` has the methods of a `pathlib.Path`."""
        return ContainerPath(self._first_process)

    def port(self, number: int) -> int:
        """The host's port that leads to a TCP port of the container.

        Raises:
            OverlayError: none does.
        """
        for found in map(_PUBLISHED.search, self._state().ports):
            if found is not None and int(found[2]) == number:
                return int(found[1])
        if self._record.network == "host":
            return number
        raise Failure(f"{self.name}: port {number} is not published")

    def exec(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        input: str | bytes | None = None,  # noqa: A002 - subprocess.run's name
        timeout: float | None = None,
    ) -> Result:
        """Run a command beside the container's own, to its end.

        A command that is a text is a line for `/bin/sh -c`. One that fails, cannot be run (126) or
        is not there (127) is a result like others.

        Raises:
            NotRunning: the container does not run.
            WaitTimeout: the command did not end in `timeout` seconds.
        """
        options = [f"--env={key}={value}" for key, value in (env or {}).items()]
        options += [] if user is None else [f"--user={user}"]
        options += [] if workdir is None else [f"--workdir={workdir}"]
        options += [] if input is None else ["--interactive"]
        root = f"--root={self._store.root}"
        typed = os.fsencode(input) if isinstance(input, str) else input
        try:
            done = subprocess.run(
                command_line("exec", root, *options, self.id, *words_of(command)),
                check=False,
                input=b"" if typed is None else typed,
                capture_output=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise WaitTimeout(self.name, "the command's end", error.timeout) from None
        if done.returncode in (1, _OURS) and self._state().status not in _LIVING:
            raise life.NotRunning(self.name)
        if done.returncode == _OURS and done.stderr.startswith(_OUR_LINE):
            raise failure(done.stderr, done.returncode)  # else it is the command's own code
        return Result(done.returncode, _text(done.stdout), _text(done.stderr))

    def copy_in(
        self,
        source: str | os.PathLike[str],
        destination: str,
        *,
        keep_owners: bool = False,
        follow: bool = False,
    ) -> None:
        """Copy a file or directory of the host's to a path in the container, as `cp` does.

        The container need not run. What is copied belongs to root there, with `keep_owners` to the
        same numbers as here; `follow` copies what a link at `source` leads to.

        Raises:
            OverlayError: naming what cannot be read or made.
        """
        inside = f"{self.id}:{destination}"
        self._copy(_local(source), inside, keep_owners=keep_owners, follow=follow)

    def copy_out(
        self,
        source: str,
        destination: str | os.PathLike[str],
        *,
        keep_owners: bool = False,
        follow: bool = False,
    ) -> None:
        """Copy a file or directory of the container's to a path of the host; as `copy_in`."""
        inside = f"{self.id}:{source}"
        self._copy(inside, _local(destination), keep_owners=keep_owners, follow=follow)

    def _copy(self, source: str, destination: str, *, keep_owners: bool, follow: bool) -> None:
        self._state()  # raises where it was removed
        flags = ["--archive"] * keep_owners + ["--follow-link"] * follow
        root = f"--root={self._store.root}"
        run_command("cp", root, *flags, "--", source, destination)

    @overload
    def logs(self, *, follow: Literal[False] = False) -> str: ...

    @overload
    def logs(self, *, follow: Literal[True]) -> Iterator[str]: ...

    def logs(self, *, follow: bool = False) -> str | Iterator[str]:
        """What its command wrote to stdout and stderr; with `follow` line by line to its end."""
        if self._record.log_driver == output_log.NONE:
            raise Failure(f"{self.name}: its output is not kept (--log-driver none)")
        if not follow:
            self._state()  # raises where it was removed
            return "".join(_text(entry.text) for entry in output_log.read(self._log))
        return (_text(entry.text) for entry in self._follow(lambda: False))

    def wait(self, timeout: float | None = None) -> int:
        """Wait until its command has ended, and return its exit code.

        Raises:
            WaitTimeout: it did not within `timeout` seconds.
        """
        if timeout is None:
            return life.wait(self._store, self._record)
        deadline = time.monotonic() + timeout
        while (code := self.exit_code) is None:
            if time.monotonic() >= deadline:
                raise WaitTimeout(self.name, "its end", timeout)
            time.sleep(_LOOK_AGAIN_S)
        return code

    def wait_for(self, what: str | int | Callable[[], object], timeout: float = 30.0) -> None:
        """Wait until its output has a text, a TCP port of it is open, or a call gives true.

        Raises:
            Ended: the container ended before; the error has its last lines.
            WaitTimeout: it did not happen within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if isinstance(what, str):
            happened = self._says(what, deadline)
            called = f"the output {what!r}"
        else:
            port = what if isinstance(what, int) else None
            happened = self._comes(what if callable(what) else self._listens(what), deadline)
            called = "what is waited for" if port is None else f"port {port}"
        if happened:
            return
        if self._state().status in _LIVING:
            raise WaitTimeout(self.name, called, timeout)
        last = " | ".join(self.logs().splitlines()[-_SHOWN_LINES:])
        raise Ended(f"{self.name}: ended with {self.exit_code} before {called} came: {last}")

    def stop(self, timeout: float | None = None) -> None:
        """Ask its command to end, and kill it where it does not in time; what it wrote stays."""
        number = signals.Signals[self._record.stop_signal]
        life.stop(self._store, self._record, number, timeout)

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal to its first process.

        Raises:
            NotRunning: there is none.
        """
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal)
        life.kill(self._store, self._record, number)

    def start(self) -> None:
        """Start it again after its end, with what it wrote."""
        run_command("start", f"--root={self._store.root}", self.id)

    # What it can go back to.

    def reset(self) -> None:
        """Have its files be its image's again, or those of the snapshot below, while it runs.

        Raises:
            NotRunning: it does not.
        """
        life.reset(self._store, self._record)

    def snapshot(self, tag: str | None = None) -> str:
        """Keep its files as they are now, running or not; returns the tag.

        Raises:
            OverlayError: there is a snapshot of that tag, or it cannot be done.
        """
        chosen = tag or stacks.next_tag(self._store.containers.stack(self._record))
        self._change({"do": "snapshot", "tag": chosen}, "snapshot", chosen)
        return chosen

    def restore(self, tag: str) -> None:
        """Have its files be those of a snapshot again, running or not; processes go on.

        Raises:
            OverlayError: there is no such snapshot, or it cannot be done.
        """
        self._change({"do": "restore", "tag": tag}, "restore", tag)

    def branch(self, name: str | None = None, *, tag: str | None = None) -> Container:
        """Start a second container from its files as they are now, or were in a snapshot.

        It is removed as one of `run` is.

        Raises:
            OverlayError: it cannot be made or started.
        """
        root = str(self._store.root)
        base = [] if tag is None else [f"--from={tag}"]
        words = [root, "branch", "--start", *base, self.id, name or f"{self.name}-{token_hex(4)}"]
        return started(self._store, words)

    def _change(self, asked: dict[str, object], command: str, tag: str) -> None:
        try:
            life.ask(self._store, self._record, asked)
        except life.NotRunning:
            run_command(command, f"--root={self._store.root}", self.id, tag)

    def remove(self) -> None:
        """End it and remove all that it wrote, but for named volumes. May be called again."""
        self._companion.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.id[:12]} {self.status}>"

    @property
    def _is_removed(self) -> bool:
        return not self._log.parent.exists()

    def _state(self) -> State:
        if self._is_removed:
            raise NotInStore(self.name, "container")
        return life.state_of(self._store, self._record)

    def _first_process(self) -> int:
        pid = self.pid
        if pid is None:
            raise life.NotRunning(self.name)
        return pid

    def _follow(self, is_late: Callable[[], bool]) -> Iterator[output_log.Entry]:
        self._state()  # raises where it was removed
        self._log.touch()
        return output_log.follow(
            self._log, lambda: is_late() or self._state().status not in _LIVING
        )

    def _says(self, text: str, deadline: float) -> bool:
        wanted, seen = os.fsencode(text), b""
        for entry in self._follow(lambda: time.monotonic() >= deadline):
            seen += entry.text
            if wanted in seen:
                return True
            seen = seen[-len(wanted) :]
        return False

    def _comes(self, happened: Callable[[], object], deadline: float) -> bool:
        while not happened():
            if time.monotonic() >= deadline or self._state().status not in _LIVING:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _listens(self, number: int) -> Callable[[], bool]:
        """Whether a process inside does: what forwards a port takes connections before."""

        def does() -> bool:
            pid = self.pid
            rows: list[list[str]] = []
            for name in ("tcp", "tcp6"):
                with suppress(OSError):  # it has ended, or there is no IPv6
                    table = Path(f"/proc/{pid}/net/{name}").read_text()
                    rows += [line.split() for line in table.splitlines()[1:]]
            return any(
                row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == number for row in rows
            )

        return does


def started(store: Store, words: Sequence[str]) -> Container:
    """Have a container started, and removed with this program; `words` are `kept`'s."""
    companion = Companion("overlayfs_py.cli.kept", words)
    try:
        ident = str(companion.answer()["id"])
        return Container(store, store.containers.get(ident), companion)
    except BaseException:
        companion.close()
        raise


def words_of(command: str | Sequence[str]) -> list[str]:
    """A command as words; a text is a line for the shell."""
    return ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)


def _local(path: str | os.PathLike[str]) -> str:
    """A path that `cp` cannot take for a container's; what its end says stays."""
    text = os.fspath(path)
    return text if text.startswith(("/", ".")) else f"./{text}"


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
