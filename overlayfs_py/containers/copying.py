"""Files and directories in and out of a container, whether it runs or not: `cp`.

A process of ours visits the container's filesystem, and speaks a tar through a pipe; the host's
side of the copy is done by this process, as this user. Either ends with the other.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from overlayfs_py.containers import copy_places, visit
from overlayfs_py.containers.tree_files import Kept, write_files
from overlayfs_py.containers.tree_tar import write_tar
from overlayfs_py.errors import Failure
from overlayfs_py.store.containers import MountKind
from overlayfs_py.syscalls import rooted
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from overlayfs_py.containers.copy_places import Opener
    from overlayfs_py.containers.tree_files import Destination
    from overlayfs_py.containers.tree_tar import Source
    from overlayfs_py.mounts.children import Child
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store
    from overlayfs_py.tars.members import Member

    Write = Callable[[bytes | memoryview], object]

_Result = TypeVar("_Result")

_CHUNK_BYTES = 1 << 18
_ROOT = (0, 0)


class End(NamedTuple):
    """One end of a copy: a path, and how it is opened."""

    open_path: Opener
    path: bytes  # `tidied`
    spoken: bytes  # for errors

    @classmethod
    def here(cls, path: bytes) -> End:
        """A path of the host."""
        return cls(os.open, copy_places.tidied(path, os.getcwdb()), path)

    def source(self, *, follow: bool) -> Source:
        """What is there; with `follow` what a link there leads to."""
        return copy_places.source(self.open_path, self.path, self.spoken, follow=follow)

    def fill(self, blocks: Iterable[bytes], kept: Kept) -> int:
        """Put there what a tar holds, by docker's rules; returns how many bytes the files have."""

        def choose(first: Member) -> Destination:
            is_directory = first.kind is Kind.DIRECTORY
            return copy_places.destination(
                self.open_path, self.path, self.spoken, is_directory=is_directory
            )

        return write_files(TarReader(blocks), choose, kept)

    def unpack(self, blocks: Iterable[bytes], kept: Kept) -> int:
        """Put all that a tar holds into the directory there; returns as `fill`."""
        found = copy_places.directory(self.open_path, self.path, self.spoken)
        return write_files(TarReader(blocks), lambda _: found, kept)


class InContainer(NamedTuple):
    """A path of a container."""

    store: Store
    record: ContainerRecord
    path: bytes

    def end(self, root_fd: int) -> End:
        """The same for a process that visits the container.

        Raises:
            Failure: only the container's own processes can get there.
        """
        path = copy_places.tidied(self.path)
        spoken = os.fsencode(self.record.name) + b":" + path
        for mount in self.record.mounts:
            target = copy_places.tidied(os.fsencode(mount.target)).rstrip(b"/") + b"/"
            if mount.kind is MountKind.TMPFS and (path + b"/").startswith(target):
                what = f"{os.fsdecode(spoken)}: a tmpfs, which nobody sees but the container"
                raise Failure(f"{what} (use `exec` and tar)")
        return End(lambda at, flags: rooted.open_in_root(root_fd, at, flags), path, spoken)


def copy_out(
    source: InContainer, take: Callable[[Iterator[bytes]], _Result], *, follow: bool
) -> _Result:
    """Have `take` read the tar of what is at a path of a container.

    To be called while there is one thread.

    Raises:
        OSError: naming what cannot be read, or as `take`.
    """
    read_fd, write_fd = os.pipe()

    def work(root_fd: int) -> bytes:
        with suppress(BrokenPipeError):  # nobody wants the rest
            write_tar(source.end(root_fd).source(follow=follow), _writer(write_fd))
        return b""

    child = _start(source, work, kept_fd=write_fd, closed_fd=read_fd)
    with _ending(child):
        try:
            taken = take(_blocks(read_fd))
        except OSError:
            os.close(read_fd)
            child.ready()  # where it failed, that is the cause
            raise
    os.close(read_fd)
    child.ready()
    child.wait()
    return taken


def copy_in(
    give: Callable[[Write], object], to: InContainer, *, keep_owners: bool, unpacked: bool = False
) -> int:
    """Put into a container what `give` writes as a tar; returns how many bytes the files have.

    `unpacked`: all of it goes into a directory, under its own names. To be called while there is
    one thread.

    Raises:
        OSError: naming what cannot be made, or as `give`.
    """
    read_fd, write_fd = os.pipe()
    kept = Kept(owner=keep_owners, owners=_ROOT, rights=True)

    def work(root_fd: int) -> bytes:
        end = to.end(root_fd)
        return b"%d" % (end.unpack if unpacked else end.fill)(_blocks(read_fd), kept)

    child = _start(to, work, kept_fd=read_fd, closed_fd=write_fd)
    with _ending(child):
        try:
            with suppress(BrokenPipeError):  # it says why
                give(_writer(write_fd))
        finally:
            os.close(write_fd)
    size = int(child.ready())
    child.wait()
    return size


def _start(
    place: InContainer, work: Callable[[int], bytes], *, kept_fd: int, closed_fd: int
) -> Child:
    """Start a visit that has one end of a pipe; the other one stays this process's."""

    def alone(root_fd: int) -> bytes:
        os.close(closed_fd)
        return work(root_fd)

    child = visit.start(place.store, place.record, alone, (kept_fd, closed_fd))
    os.close(kept_fd)
    return child


@contextmanager
def _ending(child: Child) -> Iterator[None]:
    """Let the child end with what is done here, and wait for it where that fails."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, OSError):
            child.kill(signal.SIGKILL)
        child.wait()
        raise


def _blocks(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, _CHUNK_BYTES):
        yield block


def _writer(fd: int) -> Write:
    def write(data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    return write
