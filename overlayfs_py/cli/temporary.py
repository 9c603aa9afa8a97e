"""Where temporary directories go."""

from __future__ import annotations

import os

_DEFAULT = "/tmp"


def temporary_directory() -> bytes:
    """Return `$TMPDIR`, absolute, where that is a directory to write to; otherwise /tmp.

    tempfile.gettempdir() tries a directory with a file, which stays if we are killed meanwhile.
    """
    chosen = os.environ.get("TMPDIR", "")
    if not (os.path.isdir(chosen) and os.access(chosen, os.W_OK | os.X_OK)):
        chosen = _DEFAULT
    return os.fsencode(os.path.abspath(chosen))
