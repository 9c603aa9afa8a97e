"""Where temporary directories go."""

from __future__ import annotations

import errno
import os

_DEFAULTS = ("/tmp", "/var/tmp")
# Of a filesystem, or a kernel, that knows no files without a name.
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT)


def temporary_directory() -> bytes:
    """Return `$TMPDIR`, absolute, where files can be written there; /tmp or /var/tmp otherwise.

    tempfile.gettempdir() tries a directory with a file that has a name, which stays if we are
    killed meanwhile.

    Raises:
        FileNotFoundError: none of them takes files.
    """
    tried = [os.path.abspath(path) for path in (os.environ.get("TMPDIR"), *_DEFAULTS) if path]
    for path in tried:
        if _takes_files(path):
            return os.fsencode(path)
    raise FileNotFoundError(errno.ENOENT, f"No usable temporary directory found in {tried}")


def _takes_files(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        usable = error.errno in _NO_NAMELESS and os.path.isdir(directory)
        return usable and os.access(directory, os.W_OK | os.X_OK)
    try:
        return os.write(fd, b"x") == 1
    except OSError:  # no room
        return False
    finally:
        os.close(fd)
