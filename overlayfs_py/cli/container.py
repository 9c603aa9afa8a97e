"""`overlayfs-py container`: docker's longer words for what there is to do with containers."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {
    "attach": "attach",
    "commit": "commit",
    "cp": "cp",
    "create": "create",
    "diff": "diff",
    "exec": "exec_",
    "export": "export",
    "inspect": "image_inspect",
    "kill": "kill",
    "logs": "logs",
    "ls": "ps",
    "pause": "pause",
    "port": "port",
    "prune": "container_prune",
    "rename": "rename",
    "restart": "restart",
    "rm": "rm",
    "run": "run",
    "start": "start",
    "stats": "stats",
    "stop": "stop",
    "top": "top",
    "unpause": "unpause",
    "wait": "wait",
}

_HELP = """Docker's longer words for what there is to do with containers.

\b
Examples:
  overlayfs-py container ls -a
  overlayfs-py container prune --force
"""

command = LazyGroup(
    "container",
    help=_HELP,
    modules=MODULES,
    aliases={"list": "ls", "ps": "ls", "remove": "rm"},
    docker_codes=MODULES,
)
