"""`overlayfs-py image`: what there is to do with images."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {
    "cat": "image_cat",
    "diff": "image_diff",
    "files": "image_files",
    "history": "image_history",
    "inspect": "image_inspect",
    "ls": "image_ls",
    "pull": "pull",
    "push": "push",
    "rm": "image_rm",
    "tag": "image_tag",
    "tree": "image_tree",
}

command = LazyGroup("image", help="Look at images, name them, remove them.", modules=MODULES)
