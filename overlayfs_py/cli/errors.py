"""What a command ends with: its exit code, and for a failure one line on stderr."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.cli.interruption import Interruption
from overlayfs_py.errors import BUG, OverlayError, describe, exit_code_of
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable


class _OneLine(logging.Formatter):
    """What is logged may name what is in a layer, as what is said may; see `say`."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return for_terminal(super().formatMessage(record))


def ending(program: str, command: Callable[[], int | None]) -> int:
    """Run `command`; return its exit code, or say on stderr why it failed and return that code."""
    _take_stdio()
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"{program}: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    interruption = Interruption()
    try:
        return command() or 0
    except OSError as error:
        code = refuse(program, describe(error), exit_code_of(error))
        if isinstance(error, OverlayError):
            sys.stderr.writelines(f"{line}\n" for line in error.details)
        return code
    except KeyboardInterrupt:
        return 128 + interruption.number
    except Exception:
        # Nobody foresaw it: whoever reads this needs to know where.
        traceback.print_exc()
        return BUG


def leave(code: int) -> NoReturn:
    """End this process with an exit code, as `sys.exit` does but for taking the interpreter apart.

    That is a seventh of a short command's processor time, for modules that the kernel throws away.
    """
    if threading.active_count() == 1 and sys.getprofile() is sys.gettrace() is None:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no other door to them
        # What cannot be written `sys.exit` finds again, and says so.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code & 0xFF)
    sys.exit(code)


def _take_stdio() -> None:
    """Let /dev/null be what the caller has closed of stdin, stdout and stderr.

    Their numbers would be those of the next files to be opened: of a layer, of the device.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null_fd = os.open(os.devnull, os.O_RDWR)
            os.dup2(null_fd, number)
            if null_fd != number:
                os.close(null_fd)
            setattr(sys, name, open(number, "r+", closefd=False))  # noqa: SIM115


def refuse(program: str, message: str, exit_code: int) -> int:
    """Say in one line what is wrong; returns the exit code."""
    say(program, message)
    return exit_code


def say(program: str, message: str) -> None:
    """Write one line to stderr, whatever names a layer's owner has thought of."""
    line = for_terminal(" ".join(message.splitlines()))
    sys.stderr.write(f"{program}: {line}\n")
