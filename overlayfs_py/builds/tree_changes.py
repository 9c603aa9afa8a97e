"""What a command has changed in a copy of what its layers show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.containers.changes import Change, ComparedFiles
from overlayfs_py.containers.image_difference import Kind
from overlayfs_py.containers.image_files import ImageFiles

if TYPE_CHECKING:
    from collections.abc import Collection

    from overlayfs_py.builds.tree_stamps import Touched
    from overlayfs_py.containers.image_files import ImageFile, Path


class TreeFiles(ComparedFiles):
    """The files that layers show, and those of a directory that began as their copy.

    What was touched since is compared in all that it is; the rest is as it was. Where that cannot
    be told, everything is compared.
    """

    def __init__(
        self, before: ImageFiles, root: bytes, touched: Touched | None, covered: Collection[Path]
    ) -> None:
        """Open the directory `root`; paths that are `covered` are none of the layers'."""
        super().__init__(before, ImageFiles.of_directory(root))
        self._touched = touched
        self._covered = covered

    def root(self) -> Change:
        return Change(Kind.CHANGED, (), self.before.root(), self.after.root(), merges=True)

    def merges(self, old: ImageFile, new: ImageFile) -> bool:
        return True  # every name was looked at

    def changed_names(self, directory: ImageFile) -> Collection[bytes]:
        path = directory.path
        if self._touched is None:
            # What was there before as well: it may be gone.
            views = ((self.before, self.before.find(path)), (self.after, directory))
            names = {child.path[-1] for files, at in views for child in files.children(at)}
        else:
            names = self._touched.ways.get(path, set())
        return {name for name in names if (*path, name) not in self._covered}

    def differ(self, change: Change) -> bool:
        if self._touched is not None and not self._touched.has(change.path):
            return False
        return super().differ(change)
