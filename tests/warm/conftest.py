"""A warm process of `probe.py`, with a socket of its own, and its clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from overlayfs_py.cli import warm_process
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROBE = Path(__file__).with_name("probe.py")
_PATIENCE_S = 30


class Warm:
    """A program with `warm start` in a directory, and with which environment it is started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "bin/probe"
        self.program.parent.mkdir()
        text = _PROBE.read_text()
        # As an installed script is: the kernel finds the interpreter, and calls it by its name.
        self.program.write_text(f"#!{sys.executable}\n{text}")
        self.program.chmod(0o755)
        self.runtime = directory / "run"
        self.runtime.mkdir(mode=0o700)
        self.environment = {
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_DATA_HOME": str(directory / "data"),
            "PROBED": "yes",
        }
        self.cold = {**self.environment, "XDG_RUNTIME_DIR": str(directory / "nothing")}

    def popen(
        self,
        *words: object,
        before: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        **more: object,
    ) -> subprocess.Popen[bytes]:
        """Start a command without a terminal, as a script in CI would."""
        return subprocess.Popen(
            [*before, str(self.program), *map(str, words)],
            env=self.environment if environment is None else environment,
            stdin=stdin,
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "start_new_session": True,
                **more,
            },
        )

    def __call__(self, *words: object, **more: object) -> tuple[int, bytes, bytes]:
        """Run a command to its end: its status (less than 0: the signal), stdout and stderr."""
        process = self.popen(*words, **more)
        out, err = process.communicate(timeout=_PATIENCE_S)
        return process.returncode, out, err

    def start(self, *words: str) -> None:
        assert self("warm", "start", *words) == (0, b"", b"")

    def stop(self) -> None:
        assert self("warm", "stop")[0] == 0
        wait_until(lambda: not self.is_there(), "the warm process to end")

    def is_there(self) -> bool:
        return bool(self.sockets())

    def status(self) -> dict[str, object]:
        """What it says, of which `warm status` makes words."""
        found = warm_process.status(str(self.socket))
        assert found is not None
        return found

    @property
    def pid(self) -> int:
        pid = self.status()["pid"]
        assert isinstance(pid, int)
        return pid

    @property
    def commands(self) -> int:
        """How many commands it has run."""
        commands = self.status()["commands"]
        assert isinstance(commands, int)
        return commands

    @property
    def refusals(self) -> list[str]:
        """Why it has run none."""
        refused = self.status()["refused"]
        assert isinstance(refused, dict)
        return list(refused)

    def has_run(self, call: Callable[[], object]) -> bool:
        """Whether the warm process runs the command of a call."""
        before = self.commands
        call()
        return self.commands > before

    def sockets(self) -> list[Path]:
        return list((self.runtime / "overlayfs-py-warm").glob("*-*"))

    @property
    def socket(self) -> Path:
        (found,) = self.sockets()
        return found


@pytest.fixture
def anew() -> Iterator[Warm]:
    """One that is not started."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-warm-"))
    directory.chmod(0o755)
    made = Warm(directory)
    yield made
    made("warm", "stop")
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """One for all tests that do it no harm."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-warm-"))
    made = Warm(directory)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(directory)
