"""`overlayfs-py image`: what there is to do with images."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {
    "analyze": "image_analyze",
    "cat": "image_cat",
    "diff": "image_diff",
    "explore": "image_explore",
    "files": "image_files",
    "history": "image_history",
    "import": "import_",
    "inspect": "image_inspect",
    "load": "load",
    "ls": "image_ls",
    "mount": "image_mount",
    "prune": "image_prune",
    "pull": "pull",
    "push": "push",
    "rm": "image_rm",
    "save": "save",
    "tag": "image_tag",
    "tree": "image_tree",
    "umount": "umount",
}

command = LazyGroup(
    "image",
    help="Look at images, name them, remove them.",
    modules=MODULES,
    aliases={"list": "ls", "remove": "rm"},
)
