"""What a container has changed, in time proportional to the change: its upper alone is walked.

Of one with snapshots so are the uppers of before: all since the image counts.

Two views of the same files are compared: the image's layers, and the same with the uppers above
them, in which whiteouts, opaque directories, redirects of renamed ones and metacopies mean what
they mean in a mount. Where a directory of the upper merges with the layers' own of that name, only
its own names are looked at; any other one is compared name by name.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

from overlayfs_py.containers import user_namespace
from overlayfs_py.containers.image_difference import Kind, same_content
from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.union.nodes import DirectoryNode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path as HostPath

    from overlayfs_py.containers.image_files import ImageFile, Path
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.stacks import Placed
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.union.nodes import Backing

_TRIES = 3
_COMPARED = ("mode", "uid", "gid", "rdev", "mtime_ns")

_Pair = tuple["ImageFile | None", "ImageFile | None"]


class Change(NamedTuple):
    """A path, what its layers have there, and what the container shows."""

    kind: Kind
    path: Path
    before: ImageFile | None = None
    after: ImageFile | None = None
    # Of directories: whether the layers' own of that name shows through, and whether there is one
    # that does not.
    merges: bool = False
    hides: bool = False


@contextmanager
def open_files(store: Store, record: ContainerRecord) -> Iterator[ContainerFiles]:
    """Give a container's files, whether it runs or not.

    The calling process must have one thread. An ordinary user's is moved for good into a user
    namespace as the container's: files of its other users can be read there only.

    Raises:
        NotInStore: a layer of its image has gone.
    """
    with store.containers.use_layers(record) as layers:
        if not user_namespace.may_mount():
            user_namespace.enter()
        with _opened(store, record, layers.layers) as files:
            yield files


def _opened(store: Store, record: ContainerRecord, layers: Sequence[StoredLayer]) -> ContainerFiles:
    directory = store.containers.directory(record.id)
    for tries_left in reversed(range(_TRIES)):
        try:
            placed = store.containers.placed(record)
            return ContainerFiles(directory, placed, layers)
        except FileNotFoundError:
            # A snapshot that is just being taken brings them to their places.
            if not tries_left:
                raise
    raise AssertionError("the last try raises")


class ComparedFiles(ABC):
    """Files, and those that they were made of. Open as long as it is used."""

    def __init__(self, before: ImageFiles, after: ImageFiles) -> None:
        """Take over `after`; `before` is the caller's to close, unless `close` does so."""
        self.before = before
        self.after = after

    def close(self) -> None:
        """Close the files."""
        self.after.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def root(self) -> Change:
        """The root directory, which is in no list."""

    @abstractmethod
    def merges(self, old: ImageFile, new: ImageFile) -> bool:
        """Whether in a directory only `changed_names` can differ.

        Where that is so of the one around it.
        """

    @abstractmethod
    def changed_names(self, directory: ImageFile) -> Collection[bytes]:
        """The names in a directory under which something may differ, or that are gone."""

    def differ(self, change: Change) -> bool:
        """Whether a path that both show differs."""
        before, after = change.before, change.after
        assert before is not None
        assert after is not None
        old, new = before.attributes, after.attributes
        if old.mode != new.mode or any(getattr(old, n) != getattr(new, n) for n in _COMPARED):
            return True
        if stat.S_ISLNK(new.mode):
            if self.before.read_link(before) != self.after.read_link(after):
                return True
        elif stat.S_ISREG(new.mode) and (
            old.size != new.size or not same_content(self.before, before, self.after, after)
        ):
            return True
        return self.before.xattrs(before) != self.after.xattrs(after)

    def layer(self) -> Iterator[Change]:
        """Yield what a layer has to hold that shows the same on top of those before.

        By name, a directory before what is in it. One that does not `merge` hides that of its name
        below, and comes with all that is in it.
        """
        return _Walk(self, by_name=False).run()


class ContainerFiles(ComparedFiles):
    """The files of a container, and those of its image. Open as long as it is used."""

    def __init__(self, directory: HostPath, placed: Placed, layers: Sequence[StoredLayer]) -> None:
        """Open the layers, lowest first, and the upper if the container was ever started."""
        # Places of /etc/hosts and its like, which are in the container's stack, too.
        places = os.fsencode(directory / "files/places")
        below = [places] if os.path.isdir(places) else []
        uppers = [placed.upper] if placed.upper.is_dir() else []
        above = [os.fsencode(path) for path in (*uppers, *placed.layers)]
        before = ImageFiles(layers, below=below)
        try:
            work = os.fsencode(placed.upper.with_name("work")) if uppers else None
            after = ImageFiles(layers, above=above, below=below, copies=work)
        except BaseException:
            before.close()
            raise
        super().__init__(before, after)
        self._uppers = len(above)

    def close(self) -> None:
        super().close()
        self.before.close()

    def root(self) -> Change:
        old, new = self.before.root(), self.after.root()
        return Change(Kind.CHANGED, (), old, new, merges=self._uppers > 0 and self.merges(old, new))

    def merges(self, old: ImageFile, new: ImageFile) -> bool:
        """Whether the layers' directories of a name show through the uppers', if there are any.

        Where those of the one around it do.
        """
        below, all_ = _backings(old), _backings(new)
        uppers = self._of_uppers(new)
        if any(each.directory.marks().redirect is not None for each in uppers):
            return False
        shown = [each.position - self._uppers for each in all_[len(uppers) :]]
        return [each.position for each in below] == shown

    def changed_names(self, directory: ImageFile) -> Collection[bytes]:
        """The names that the uppers show or delete in a directory."""
        uppers = self._of_uppers(directory)
        return {entry.name for each in uppers for entry in each.directory.entries()}

    def _of_uppers(self, file: ImageFile) -> list[Backing]:
        return [each for each in _backings(file) if each.position < self._uppers]

    def differences(self) -> Iterator[Change]:
        """Yield every path that differs, by name, a directory before what is in it.

        A directory in which something differs is changed, as docker has it, but for the root.
        """
        return _Walk(self, by_name=True).run() if self._uppers else iter(())

    def layer(self) -> Iterator[Change]:
        """Yield what a layer has to hold that shows the same on top of the image's.

        As `differences`, but that a directory which the layers' own of its name does not show
        through hides that one, and comes with all that is in it.
        """
        return super().layer() if self._uppers else iter(())


class _Frame:
    """A directory on the way down."""

    def __init__(self, change: Change, pairs: Iterator[_Pair], *, is_told: bool) -> None:
        self.change = change
        self.pairs = pairs
        self.is_told = is_told


class _Walk:
    def __init__(self, files: ComparedFiles, *, by_name: bool) -> None:
        self._files = files
        self._before = files.before
        self._after = files.after
        self._by_name = by_name
        # Names of layers' files that the container has changed under another name, by directory;
        # and the names that lead there.
        self._more: dict[Path, set[bytes]] = {}
        for file in self._after.copied_elsewhere():
            for end in range(len(file.path)):
                self._more.setdefault(file.path[:end], set()).add(file.path[end])

    def run(self) -> Iterator[Change]:
        # No recursion: trees may be deeper than Python's stack.
        root = self._files.root()
        way = [_Frame(root, self._pairs(root), is_told=True)]
        while way:
            pair = next(way[-1].pairs, None)
            if pair is None:
                way.pop()
                continue
            change, differs = self._compared(*pair, within=way[-1].change)
            if differs:
                yield from _told(way)
                yield change
            after = change.after
            if after is not None and stat.S_ISDIR(after.attributes.mode):
                way.append(_Frame(change, self._pairs(change), is_told=differs))

    def _compared(
        self, before: ImageFile | None, after: ImageFile | None, *, within: Change
    ) -> tuple[Change, bool]:
        if after is None:
            assert before is not None
            return Change(Kind.DELETED, before.path, before), True
        if before is None:
            return Change(Kind.ADDED, after.path, None, after), True
        are_directories = _is_directory(before) and _is_directory(after)
        merges = are_directories and within.merges and self._files.merges(before, after)
        hides = are_directories and not merges
        change = Change(Kind.CHANGED, after.path, before, after, merges, hides)
        return change, self._files.differ(change) or (hides and not self._by_name)

    def _pairs(self, directory: Change) -> Iterator[_Pair]:
        """What to compare in a directory that the container shows."""
        before, after = directory.before, directory.after
        assert after is not None
        if before is None or not _is_directory(before):
            return ((None, child) for child in self._after.children(after))
        if directory.merges:
            more = self._more.get(after.path, set())
            names: Iterable[bytes] = sorted({*self._files.changed_names(after), *more})
        elif self._by_name:
            olds = (child.path[-1] for child in self._before.children(before))
            news = (child.path[-1] for child in self._after.children(after))
            names = sorted({*olds, *news})
        else:
            return ((None, child) for child in self._after.children(after))
        found = ((self._before.look(before, n), self._after.look(after, n)) for n in names)
        return (pair for pair in found if pair != (None, None))


def _told(way: Sequence[_Frame]) -> Iterator[Change]:
    for frame in way:
        if not frame.is_told:
            frame.is_told = True
            yield frame.change


def _is_directory(file: ImageFile) -> bool:
    return stat.S_ISDIR(file.attributes.mode)


def _backings(file: ImageFile) -> tuple[Backing, ...]:
    assert isinstance(file.node, DirectoryNode)
    return file.node.lowers
