"""Reading a whole tar at once, and making it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.tars.compression import Tally
from overlayfs_py.tars.members import Hole
from overlayfs_py.tars.reader import TarReader
from overlayfs_py.tars.rebuild import rebuild
from overlayfs_py.tars.split import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.tars.members import Member


class Read(NamedTuple):
    members: list[Member]
    files: list[bytes]  # the data of each, by place
    recording: bytes


_MOST_ZEROS = 1 << 26


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _zeros(hole: Hole) -> bytes:
    """A hole's zeros, as far as they can matter: of an absurd one, no more than memory holds."""
    return bytes(min(hole.length, _MOST_ZEROS))


def read_tar(data: bytes, block: int = 65536) -> Read:
    """Read a tar that comes in blocks of some size."""
    recorder, whole = Recorder(), Tally()
    whole.add(data)
    members, files = [], []
    reader = TarReader(cut(data, block), recorder.raw)
    for member in reader:
        files.append(
            b"".join(_zeros(piece) if isinstance(piece, Hole) else piece for piece in reader.data())
        )
        recorder.data(len(members), member.segments)
        members.append(member)
    return Read(members, files, recorder.finish(whole.digest))


def rebuilt(read: Read, size: int) -> bytes:
    """Make the tar again from its recording and the files' data alone."""
    return b"".join(
        rebuild(
            read.recording,
            lambda file, offset, length: (read.files[file][offset : offset + length],),
            size,
        )
    )
