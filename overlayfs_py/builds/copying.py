"""The layer of a COPY or ADD, and of a WORKDIR: written from the files themselves, as a pack.

There is no upper, no mount and no copy: what the sources name is laid over the merged layers below
in memory, then written once.

Sources: moby/buildkit, solver/llbsolver/file; tonistiigi/fsutil, copy.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from overlayfs_py.builds.draft import Content, Draft, Node
from overlayfs_py.builds.failures import CannotPlace
from overlayfs_py.builds.modes import AS_IT_IS, DIRECTORY_MODE, Mode
from overlayfs_py.builds.owners import ROOT, Owner, find_owner
from overlayfs_py.builds.spool import Spool
from overlayfs_py.builds.unpacking import is_archive, unpack
from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.packs.values import shown
from overlayfs_py.store.layer_writing import write_made_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.builds.context import Context, Item, Path
    from overlayfs_py.builds.selection import Entry, Selected
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer


class CopyOptions(Struct, frozen=True):
    """How a COPY or ADD puts its files."""

    owner: str = ""  # USER[:GROUP] of `--chown`; empty: as the context has it
    mode: Mode = AS_IT_IS
    latest_ns: int | None = None  # SOURCE_DATE_EPOCH: no time of the layer is later


def write_copy(
    addition: Addition,
    selected: Sequence[Selected],
    base: Sequence[StoredLayer],
    destination: str,
    options: CopyOptions,
) -> StoredLayer:
    """Write a layer with the selected files at a destination, and make it one of the store.

    Args:
        addition: keeps the layer until an image refers to it.
        selected: what to copy, in this order; a later one may replace what an earlier one put.
        base: the layers below, lowest first; none for `--link`, which knows nothing of them.
        destination: an absolute path of the image; with a slash at its end it is a directory.
        options: how.

    Raises:
        CannotPlace: a file cannot be where it is to be.
        BadOption: the image does not know the owner.
        ChangedMeanwhile, BadContext: the context cannot be read as it was seen.
        OSError: from writing; the store is as it was.
    """
    with ExitStack() as stack:
        files = stack.enter_context(ImageFiles(base)) if base else None
        draft = Draft(files, options.latest_ns)
        owner = None
        if options.owner:
            owner = find_owner(options.owner, files, f"--chown={options.owner}")
        spool = Spool(stack.enter_context(addition.scratch_file()))
        for each in selected:
            if each.unpacks and is_archive(each.context, each.source):
                _unpack(draft, each, destination, owner, spool)
            else:
                _Copy(draft, options, owner).run(each, destination)
        return _write(addition, draft)


def _unpack(
    draft: Draft, selected: Selected, destination: str, owner: Owner | None, spool: Spool
) -> None:
    place = draft.resolve(components(destination))
    draft.make_directories(place, DIRECTORY_MODE, *(owner or ROOT))
    unpack(draft, place, selected.context, selected.source, owner, spool)


def write_directory(
    addition: Addition,
    base: Sequence[StoredLayer],
    path: str,
    owner: str,
    latest_ns: int | None = None,
) -> StoredLayer:
    """Write a layer with a directory and those above it, as WORKDIR makes them.

    What is there stays as it is; of the rest all belongs to `owner`, the text of USER, as BuildKit
    has it. A layer in which nothing changes is empty.

    Raises:
        CannotPlace: something on the way is no directory.
        BadOption: the image does not know the owner.
    """
    with ExitStack() as stack:
        files = stack.enter_context(ImageFiles(base)) if base else None
        draft = Draft(files, latest_ns)
        ids = find_owner(owner, files, f"USER {owner}") if owner else ROOT
        draft.make_directories(draft.resolve(components(path)), DIRECTORY_MODE, *ids)
        return _write(addition, draft)


def _write(addition: Addition, draft: Draft) -> StoredLayer:
    with addition.ingest_unknown_layer() as ingest:
        return addition.commit_layer(ingest, write_made_layer(ingest, draft.write))


def components(path: str) -> Path:
    """Return the components of a cleaned path, in which `..` leads not above the root."""
    found: list[bytes] = []
    for name in os.fsencode(path).split(b"/"):
        if name == b"..":
            del found[-1:]
        elif name not in {b"", b"."}:
            found.append(name)
    return tuple(found)


class _Copy:
    """One source on its way to its destination."""

    def __init__(self, draft: Draft, options: CopyOptions, owner: Owner | None) -> None:
        self._draft = draft
        self._mode = options.mode
        self._owner = owner
        self._shared: dict[object, Content] = {}  # of files with several names, by inode

    def run(self, selected: Selected, destination: str) -> None:
        place = self._place(selected, destination)
        known: tuple[Path, Node] = (
            (),
            self._draft.root,
        )  # most files follow one of their directory
        for entry in selected.entries:
            path = (*place, *entry.below)
            if not path:
                continue  # the root is there, and stays as it is
            if known[0] != path[:-1]:  # most files follow one of their own directory
                known = (path[:-1], self._draft.directory_at(path[:-1]))
            self._put(path, known[1], entry, selected.context)

    def _put(self, path: Path, parent: Node, entry: Entry, context: Context) -> None:
        draft = self._draft
        before = draft.child(parent, path[-1])
        if before is None or not (before.is_directory or entry.item.is_directory):
            draft.put(parent, path[-1], self._node(entry.item, context))
        elif not entry.item.is_directory:
            raise CannotPlace(shown(path), "cannot replace a directory with a file")
        elif not before.is_directory:
            raise CannotPlace(shown(path), "cannot copy a directory to what is none")
        elif entry.is_implied:
            draft.describe(before, structs.replace(before, mode=entry.item.mode))
        elif entry.below:  # the source itself only lends what is in it
            draft.describe(before, self._node(entry.item, context))

    def _place(self, selected: Selected, destination: str) -> Path:
        """Make the directories that there must be; returns where the source itself goes."""
        draft, source = self._draft, selected.source
        asked = components(destination)
        if not destination.endswith(("/", "/.")):
            self._make(draft.resolve(asked[:-1]))
            place = draft.resolve(asked)
        else:
            place = draft.resolve(asked)
            self._make(place)
        there = draft.find(place)
        if source.is_directory:
            self._make(place if there is None else place[:-1])
            return place
        if there is not None and there.is_directory:
            place = (*place, selected.name)
        self._make(place[:-1])
        return place

    def _make(self, path: Path) -> None:
        owner = self._owner or ROOT
        self._draft.make_directories(path, self._mode.of_made_directories, *owner)

    def _node(self, item: Item, context: Context) -> Node:
        uid, gid = self._owner or (item.uid, item.gid)
        node = Node(
            item.mode,
            uid,
            gid,
            self._draft.time_of(item.mtime_ns),
            context.xattrs(item),
            item.rdev,
        )
        if item.is_symlink:
            node.target = context.read_link(item)
            node.mode = stat.S_IFLNK | 0o777
            return node
        node.mode = stat.S_IFMT(item.mode) | self._mode.applied(item.mode)
        if item.is_file:
            node.content = self._content(item, context)
        elif stat.S_ISSOCK(item.mode):  # no tar has a place for one: an empty file, as BuildKit
            node.mode, node.content = stat.S_IFREG | stat.S_IMODE(node.mode), Content(0, tuple)
        return node

    def _content(self, item: Item, context: Context) -> Content:
        content = Content(item.size, partial(context.data, item))
        if item.links == 1:
            return content
        return self._shared.setdefault(item.inode, content)
