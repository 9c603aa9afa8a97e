"""`overlayfs-py layer`: what there is to do with one layer."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {
    "cat": "layer_cat",
    "diff": "layer_diff",
    "info": "layer_info",
    "ls": "layer_ls",
    "pack": "layer_pack",
    "unpack": "layer_unpack",
    "verify": "layer_verify",
}

command = LazyGroup(
    "layer", help="Make packs of layers, look at them, and unpack them.", modules=MODULES
)
