"""A shell on a terminal of its own, to which a test types."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

_PATIENCE_S = 20
_CONTROLS = re.compile(
    r"\x1b\[[0-9;?>=]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()=>][A-Z0-9]?|[\r\x07]"
)


class Terminal:
    """A process whose stdin, stdout and stderr are a terminal."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._pid, self._fd = pty.fork()
        if not self._pid:
            os.execvpe(argv[0], argv, dict(environment))
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        os.close(self._fd)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until `pattern` is shown, and forget all up to its end.

        What moves the cursor is left out.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := re.search(pattern, _CONTROLS.sub("", self.shown))):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._fd], [], [], max(left, 0))
            assert ready, f"{pattern!r} is not shown, but: {self.shown!r}"
            self.shown += os.read(self._fd, 4096).decode(errors="replace")
        self.shown = _CONTROLS.sub("", self.shown)[found.end() :]
        return found
