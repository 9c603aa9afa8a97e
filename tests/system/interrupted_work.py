"""A stream of changes to a mount, one line of output after each, until the daemon is gone.

Run as a program, with the mount point as its argument: what a dying mount does to its users must
not happen to the test itself. Each step touches files of its own number, so what a step was about
to do is known from the number alone.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 40
LARGE_BYTES = 3 << 20  # above what a driver copies up inline

OLD_MODE = 0o644
NEW_MODE = 0o600

# What a requester of a killed daemon is told: aborted in flight, or after that no connection.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}


def content(name: str, number: int) -> bytes:
    """Return what the layer holds in that file: enough to tell files and versions apart."""
    size = LARGE_BYTES if name == "large" else 5000
    line = f"{name} {number}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def append(root: Path, number: int) -> None:
    """Copy up a large file, then write behind its old end."""
    with (root / f"large{number}").open("ab", buffering=0) as file:
        file.write(b"appended")


def change_mode(root: Path, number: int) -> None:
    (root / f"mode{number}").chmod(NEW_MODE)


def rename(root: Path, number: int) -> None:
    (root / f"from{number}").rename(root / f"to{number}")


def rename_directory(root: Path, number: int) -> None:
    (root / f"old_directory{number}").rename(root / f"new_directory{number}")


def replace(root: Path, number: int) -> None:
    """Write a new version beside the file and rename it over, as editors and dpkg do."""
    fresh = root / f"replaced{number}.new"
    fresh.write_bytes(content("version", number))
    fresh.rename(root / f"replaced{number}")


def remove(root: Path, number: int) -> None:
    (root / f"removed{number}").unlink()


def untar(root: Path, number: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "b"):
            entry = tarfile.TarInfo(f"untarred{number}/{name}")
            entry.size = len(content(name, number))
            tar.addfile(entry, io.BytesIO(content(name, number)))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        tar.extractall(root)


CHANGES: list[Callable[[Path, int], None]] = [
    append,
    change_mode,
    rename,
    rename_directory,
    replace,
    remove,
    untar,
]


def lay_out(layer: Path) -> None:
    """Write the layer that the work changes."""
    for number in range(STEPS):
        for name in ("large", "mode", "from", "replaced", "removed"):
            file = layer / f"{name}{number}"
            file.write_bytes(content(name, number))
            file.chmod(OLD_MODE)
        directory = layer / f"old_directory{number}"
        directory.mkdir()
        (directory / "inside").write_bytes(content("inside", number))


def main() -> None:
    root = Path(sys.argv[1])
    try:
        for number in range(STEPS):
            for change in CHANGES:
                change(root, number)
                os.write(sys.stdout.fileno(), f"{change.__name__} {number}\n".encode())
    except OSError as error:
        if error.errno not in GONE:
            raise


if __name__ == "__main__":
    main()
