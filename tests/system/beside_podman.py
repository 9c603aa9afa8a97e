"""One command given to podman, Debian's with crun, and to us: each has a store with one image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.system.engine import CONTAINERS_CONF, REGISTRIES_CONF
from tests.system.processes import attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

_STORAGE_CONF = '[storage]\ndriver = "vfs"\ngraphroot = "{home}/graph"\nrunroot = "{home}/run"\n'


class Answer(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    error: str


class Side:
    """One of the two programs."""

    def __init__(self, argv: list[str], environment: Mapping[str, str]) -> None:
        self.argv = argv
        self.environment = environment
        self.timeout_s = 60.0

    def __call__(self, *words: object, typed: bytes | None = None) -> Answer:
        argv = [*self.argv, *map(str, words)]
        if typed is None:
            done = attempt(argv, env=self.environment, timeout=self.timeout_s)
            return Answer(done.returncode, done.stdout, done.stderr)
        piped = subprocess.run(
            argv,
            env=self.environment,
            input=typed,
            capture_output=True,
            timeout=self.timeout_s,
        )
        return Answer(piped.returncode, piped.stdout.decode("latin-1"), piped.stderr.decode())


def podman(home: Path, namespace: int) -> Side:
    """Podman with all that it keeps below `home`, in a mount namespace that suits crun."""
    home.mkdir()
    texts = {
        "storage.conf": _STORAGE_CONF,
        "containers.conf": CONTAINERS_CONF,
        "registries.conf": REGISTRIES_CONF,
    }
    for name, text in texts.items():
        lines = text.format(home=home).splitlines()
        (home / name).write_text("\n".join(line.strip() for line in lines) + "\n")
    return Side(
        ["nsenter", f"--mount=/proc/{namespace}/ns/mnt", "podman"],
        {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(home),
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
        },
    )


def ours(home: Path) -> Side:
    """`overlayfs-py` with its store below `home`."""
    home.mkdir()
    program = Path(sys.executable).parent / "overlayfs-py"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    return Side([str(program)], {**environment, "XDG_DATA_HOME": str(home / "data")})
