"""What `--version` prints. Engines ask at every start of theirs, so nothing else is loaded."""

from __future__ import annotations

import os

from overlayfs_py import __version__

OVERLAYFS_PY = f"overlayfs-py {__version__}\n"
# The second line is for callers that look for the program whose place we take, and its features.
FUSE_OVERLAYFS_PY = f"""\
fuse-overlayfs-py: version {__version__}
compatible with fuse-overlayfs: version 1.10
"""
_ASKED = (["--version"], ["-V"])
_STDOUT = 1


def was_shown(arguments: list[str], text: str) -> bool:
    """Print `text` if the arguments ask for that alone.

    False also where stdout takes nothing: the usual way then says why.
    """
    if arguments not in _ASKED:
        return False
    try:
        return os.write(_STDOUT, text.encode()) == len(text)
    except OSError:
        return False
