"""`overlayfs-py builder`: the cache of builds."""

from __future__ import annotations

from overlayfs_py.cli.lazy import LazyGroup

MODULES = {"build": "build", "df": "builder_df", "prune": "builder_prune"}

command = LazyGroup(
    "builder",
    help="Look at the cache of builds, and remove what nobody wants.",
    modules=MODULES,
    aliases={"du": "df"},
)
