"""Opening a host directory as a layer, however it keeps its owners."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostTree
from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.override_stat import LEGACY_XATTR, OVERRIDE_XATTRS
from overlayfs_py.layers.ownership import is_ours_alone
from overlayfs_py.layers.root import is_idmapped, open_layer_root
from overlayfs_py.layers.xattrs import find_xattr

if TYPE_CHECKING:
    from overlayfs_py.layers.descriptors import DescriptorCache
    from overlayfs_py.layers.host import HostDirectory
    from overlayfs_py.layers.marks import MarkNames
    from overlayfs_py.layers.numbering import Numbering


def open_directory_layer(
    numbering: Numbering,
    path: bytes,
    ids: IdMap,
    descriptors: DescriptorCache[int],
    *,
    mark_names: MarkNames,
    overrides: bool,
    plain: bool = False,
) -> HostTree:
    """Open the directory at `path` as a tree of a mount; the caller closes the tree.

    `ids` map its owners, unless its mount does so already. With `overrides` its objects have the
    owner and mode that an xattr keeps, if its root has one. In a `plain` one nothing is a deletion.
    """
    root_fd = open_layer_root(path)
    filesystem = numbering.filesystem(root_fd, os.fstat(root_fd).st_dev)
    ids = IdMap() if is_idmapped(path) else ids
    tree = HostTree(filesystem, root_fd, ids, descriptors, plain=plain)
    tree.mark_names = mark_names
    tree.is_others = not is_ours_alone(os.fstat(root_fd))
    tree.override = _detect_override(tree.root) if overrides else None
    return tree


def _detect_override(root: HostDirectory) -> bytes | None:
    """The xattr that a layer keeps owner and mode in, as its root tells."""
    for name in (*OVERRIDE_XATTRS.values(), LEGACY_XATTR):
        if find_xattr(root, name) is not None:
            return name
    return None
