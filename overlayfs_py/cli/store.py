"""`overlayfs-py store`: what there is to do with all of a store."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {"df": "store_df", "fetch": "store_fetch", "fsck": "store_fsck", "prune": "store_prune"}

command = LazyGroup("store", help="Check a store, measure it, clean it up.", modules=MODULES)
