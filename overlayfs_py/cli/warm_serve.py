"""The warm process itself, which `warm start` executes: it loads all code, and waits."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from overlayfs_py.cli import warm_process
from overlayfs_py.errors import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.warm.template import Template

_FIRST_OTHER_FD = 3

# Rarely wanted, or slow for other reasons: they bring HTTP, the terminal's tables, gRPC, libfuse.
_LEFT_OUT = tuple(
    f"overlayfs_py.{name}"
    for name in (
        *("api", "pytest_plugin", "__main__", "warm", "backends.snapshot", "registry", "transfer"),
        *("advice", "cli.build_terminal", "cli.explore", "cli.warm", "drivers.pyfuse3"),
    )
)
# What modules load at their first use of it, in most commands.
_LATE = ("trio", "shutil", "subprocess", "tempfile", "secrets", "random", "difflib", "json")


def serve(words: list[str]) -> None:
    """Be the template at a socket, `[PATH, SECONDS]`, until nobody needs it; tell stdout of it.

    Returns in each process that it forks, which is then to run its own `sys.argv`.
    """
    if len(words) < 2 or os.isatty(1):
        sys.exit("overlayfs-py: warm serve: `overlayfs-py warm start` begins it")
    from overlayfs_py.warm import errand

    path, seconds = words[:2]
    os.closerange(_FIRST_OTHER_FD, os.sysconf("SC_OPEN_MAX"))
    try:
        template = _ready(path, float(seconds))
    except OSError as error:
        os.write(1, describe(error).encode(errors="replace"))
        os._exit(1)
    os.write(1, warm_process.READY)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    template.serve()
    errand.release()


def _ready(path: str, idle_s: float) -> Template:
    from overlayfs_py.syscalls import process_title
    from overlayfs_py.warm.template import Template, require_fitness

    os.chdir("/")
    require_fitness()
    _load()
    template = Template(path, idle_s, os.environb)
    process_title.show([b"overlayfs-py", b"warm", b"serve"], b"overlayfs-py")
    return template


def _load() -> None:
    for name in _modules():
        importlib.import_module(name)
    for name in _LATE:
        importlib.import_module(name)


def _modules() -> Iterator[str]:
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for directory, _, names in os.walk(top):
        package = os.path.relpath(directory, os.path.dirname(top)).replace(os.sep, ".")
        for name in names:
            module = f"{package}.{name.removesuffix('.py')}"
            if name.endswith(".py") and not module.startswith(_LEFT_OUT):
                yield module.removesuffix(".__init__")
