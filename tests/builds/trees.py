"""What an image shows, as a table: `{"/bin/sh": "f 755 0:0 text"}`."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.containers.image_files import ImageFiles, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.containers.image_files import ImageFile
    from overlayfs_py.store.stored_layer import StoredLayer

_LETTERS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}


def tree_of(layers: Sequence[StoredLayer]) -> dict[str, str]:
    """By path, what each object is: type, mode, owner, then content, target or device."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    with ImageFiles(layers) as files:
        for file in files.walk():
            path = os.fsdecode(shown(file.path))
            found[path] = _described(files, file)
            if file.attributes.nlink > 1 and not stat.S_ISDIR(file.attributes.mode):
                other = first.setdefault(file.attributes.ino, path)
                if other != path:
                    found[path] = f"= {other}"
    return found


def changes(base: Sequence[StoredLayer], layer: StoredLayer) -> dict[str, str]:
    """What a layer changes of a base; `gone` is what it hides."""
    before = tree_of(base) if base else {"/": "d 755 0:0"}
    after = tree_of((*base, layer))
    new = {path: told for path, told in after.items() if before.get(path) != told}
    return new | dict.fromkeys(before.keys() - after.keys(), "gone")


def _described(files: ImageFiles, file: ImageFile) -> str:
    seen = file.attributes
    words = [_LETTERS[stat.S_IFMT(seen.mode)]]
    if stat.S_ISLNK(seen.mode):
        words += [f"{seen.uid}:{seen.gid}", os.fsdecode(files.read_link(file))]
    else:
        words += [f"{stat.S_IMODE(seen.mode):o}", f"{seen.uid}:{seen.gid}"]
    if stat.S_ISREG(seen.mode):
        words += [b"".join(files.content(file)).decode(errors="replace")]
    if seen.rdev:
        words += [f"{os.major(seen.rdev)}:{os.minor(seen.rdev)}"]
    words += [f"{name.decode()}={value!r}" for name, value in files.xattrs(file).items()]
    return " ".join(words).removesuffix(" ")
