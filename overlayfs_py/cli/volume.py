"""`overlayfs-py volume`: what outlives containers."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {
    "create": "volume_create",
    "inspect": "volume_inspect",
    "ls": "volume_ls",
    "prune": "volume_prune",
    "rm": "volume_rm",
}

command = LazyGroup(
    "volume",
    help="Make volumes, look at them, remove them.",
    modules=MODULES,
    aliases={"list": "ls", "remove": "rm"},
    docker_codes=MODULES,
)
