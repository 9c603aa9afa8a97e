"""The process that makes and starts a container for a program, and removes it after the program.

Not a command for people: `overlayfs_py.run` starts it, as a companion (`mounts/companion.py`). It
does `run -d ...` or `branch --start ...`, answers with the container's ID, and waits until its
caller closes its stdin, or has ended in whatever way. Then it does `rm -fv`. What kills the caller
does not kill this process: it has a session of its own.
"""

from __future__ import annotations

import io
import signal
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from overlayfs_py.cli import commands
from overlayfs_py.cli.errors import ending
from overlayfs_py.mounts import companion

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Serve the process whose pidfd is the first argument; the second is the store."""
    pidfd, root, *arguments = sys.argv[1:]
    sys.exit(ending("overlayfs-py", lambda: _keep(int(pidfd), root, arguments)))


def _keep(callers_pidfd: int, root: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="overlayfs-py-") as directory:
        cidfile = Path(directory, "id")
        try:
            with redirect_stdout(io.StringIO()):
                word, *rest = arguments
                words = [word, "--root", root, "--cidfile", str(cidfile), *rest]
                code = commands.run(words)
            if not code:
                # Not before: the container's processes would inherit it.
                for number in _IGNORED:
                    signal.signal(number, signal.SIG_IGN)
                _wait(callers_pidfd, cidfile.read_text())
            return code
        finally:
            # Also one that was made, but could not be started.
            if cidfile.exists():
                _remove(root, cidfile.read_text())


def _wait(callers_pidfd: int, ident: str) -> None:
    companion.answer({"id": ident})
    for _ in companion.requests(callers_pidfd):
        pass


def _remove(root: str, ident: str) -> None:
    with redirect_stdout(io.StringIO()):
        commands.run(["rm", "-fv", "--root", root, ident])
