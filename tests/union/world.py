"""A union over layers that a table describes, used by paths, its nodes held as a kernel would."""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from overlayfs_py.union.opening import open_union
from overlayfs_py.union.steps import finished
from overlayfs_py.union.values import AttributeChange, Creator, StackSpec
from tests.support.lowers import as_served
from tests.support.snapshot import layer_digest
from tests.support.trees import Dir, build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.core import Node
    from tests.support import trees

    Tree = Mapping[str, trees.Node] | Mapping[str | bytes, trees.Node]

ROOT = Creator(0, 0)


class World:
    """Layers, an upper, and the union over them; `lowers` is topmost first.

    Every node that a path leads through stays held until `forget`, as the kernel's names do.
    """

    def __init__(
        self,
        base: Path,
        *lowers: Tree | Path,
        upper: Tree | Path | None = None,
        read_only: bool = False,
        **options: object,
    ) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.lowers = [self._layer(f"lower{n}", tree) for n, tree in enumerate(lowers)]
        self.upper = self._layer("upper", upper or {})
        # Both on one filesystem, wherever that is.
        self.work = self.upper.parent / "work"
        self.work.mkdir(exist_ok=True)
        directories: dict[str, object] = {
            "lower": tuple(os.fsencode(as_served(lower)) for lower in self.lowers)
        }
        if not read_only:
            directories |= {"upper": os.fsencode(self.upper), "work": os.fsencode(self.work)}
        self.spec = StackSpec(**(directories | options))
        self._digests = {lower: layer_digest(lower) for lower in self.lowers}
        self._holds: Counter[int] = Counter()
        self.union = open_union(self.spec)
        self.is_open = True

    def _layer(self, name: str, tree: Tree | Path) -> Path:
        if not isinstance(tree, dict):
            return tree
        build(self.base / name, {"": Dir()} | tree)
        return self.base / name

    def reopen(self) -> None:
        """Close and open again, as an unmount and a mount would."""
        self.close()
        self.union = open_union(self.spec)
        self.is_open = True

    def close(self) -> None:
        self._holds.clear()
        if self.is_open:
            self.is_open = False
            self.union.close()

    def forget(self) -> None:
        """Give back every reference."""
        for ino, count in self._holds.items():
            self.union.release(ino, count)
        self._holds.clear()

    def expect_changed_layers(self) -> None:
        """The test itself has changed them."""
        self._digests = {lower: layer_digest(lower) for lower in self.lowers}

    def require_untouched_layers(self) -> None:
        changed = [path for path, digest in self._digests.items() if layer_digest(path) != digest]
        assert not changed

    # Nodes.

    def hold(self, node: Node) -> Node:
        self.union.hold(node)
        self.count_hold(node.ino)
        return node

    def count_hold(self, ino: int) -> None:
        """Take note of a reference, to give it back."""
        self._holds[ino] += 1

    def find(self, path: str | bytes) -> Node | None:
        """Return what a path shows, held; no link is followed."""
        here = self.union.root
        for name in _components(path):
            below = self.union.lookup(here, name)
            if below is None:
                return None
            here = self.hold(below)
        return here

    def at(self, path: str | bytes) -> Node:
        node = self.find(path)
        if node is None:
            raise FileNotFoundError(path)
        return node

    def place(self, path: str | bytes) -> tuple[Node, bytes]:
        """Return the directory and the name that a path ends in."""
        *above, name = _components(path)
        return self.at(b"/".join(above)), name

    # Looking.

    def names(self, path: str | bytes = "") -> set[bytes]:
        return set(self.union.names(self.at(path)))

    def stat(self, path: str | bytes) -> Attributes:
        return self.union.attributes(self.at(path))

    def mode(self, path: str | bytes) -> int:
        return stat.S_IMODE(self.stat(path).mode)

    def owner(self, path: str | bytes) -> tuple[int, int]:
        found = self.stat(path)
        return found.uid, found.gid

    def read(self, path: str | bytes) -> bytes:
        return self.union.read(self.at(path), 0, 1 << 20)

    def read_link(self, path: str | bytes) -> bytes:
        return self.union.read_link(self.at(path))

    def xattrs(self, path: str | bytes) -> dict[bytes, bytes]:
        node = self.at(path)
        return {name: self.union.get_xattr(node, name) for name in self.union.list_xattrs(node)}

    # Changing.

    def write(self, path: str | bytes, data: bytes, offset: int = 0) -> None:
        node = self.at(path)
        assert self.union.write(node, offset, data) == len(data)

    def put(self, path: str | bytes, data: bytes = b"", mode: int = 0o644) -> Node:
        """Create a file with some data."""
        node = self.hold(self.union.create_file(*self.place(path), mode, ROOT)[0])
        if data:
            self.union.write(node, 0, data)
        return node

    def mkdir(self, path: str | bytes, mode: int = 0o755, creator: Creator = ROOT) -> Node:
        return self.hold(self.union.make_directory(*self.place(path), mode, creator)[0])

    def mknod(self, path: str | bytes, mode: int, rdev: int = 0, creator: Creator = ROOT) -> Node:
        return self.hold(self.union.make_node(*self.place(path), mode, rdev, creator)[0])

    def symlink(self, target: bytes, path: str | bytes, creator: Creator = ROOT) -> Node:
        return self.hold(self.union.make_symlink(*self.place(path), target, creator)[0])

    def link(self, old: str | bytes, new: str | bytes) -> Node:
        return self.hold(self.union.link(self.at(old), *self.place(new)))

    def unlink(self, path: str | bytes) -> None:
        self.union.unlink(*self.place(path))

    def rmdir(self, path: str | bytes) -> None:
        self.union.remove_directory(*self.place(path))

    def rename(self, old: str | bytes, new: str | bytes, flags: int = 0) -> None:
        """Rename; both ends are looked up before, as the kernel does."""
        self.find(old)
        self.find(new)
        steps = self.union.rename(*self.place(old), *self.place(new), flags)
        if steps is not None:
            finished(steps)

    def change(self, path: str | bytes, **values: int) -> Attributes:
        return self.union.change_attributes(self.at(path), AttributeChange(**values))

    def set_xattr(self, path: str | bytes, name: bytes, value: bytes) -> None:
        self.union.set_xattr(self.at(path), name, value)


def _components(path: str | bytes) -> list[bytes]:
    return [part for part in os.fsencode(path).split(b"/") if part]
