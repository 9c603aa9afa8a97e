"""Where a command in a container starts."""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress

from overlayfs_py.named_tuple import NamedTuple


class WorkingDirectory(NamedTuple):
    """A directory, from the container's root; an image's is made where no layer has it."""

    path: bytes
    is_made: bool = False

    def enter(self) -> None:
        """Change to it; to be called where / is the container's.

        Raises:
            OSError: it is not there, or not a directory.
        """
        path = self.path
        if self.is_made:
            # `..` goes by the names alone, as for docker: /a/../b is /b, with or without /a.
            path = posixpath.normpath(b"/" + path.lstrip(b"/"))
            with suppress(FileExistsError):  # a file, which chdir(2) tells better
                os.makedirs(path, 0o755, exist_ok=True)
        os.chdir(path)
