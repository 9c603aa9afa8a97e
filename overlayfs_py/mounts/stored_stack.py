"""Stacks of layers that this user's own store holds, or that this user runs for itself."""

from __future__ import annotations

from overlayfs_py.syscalls.credentials import has_trusted_xattrs
from overlayfs_py.union.values import StackSpec


def stack_of(layers: tuple[bytes, ...]) -> StackSpec:
    """Return the stack of some layers, topmost first.

    An ordinary user's directories keep owners in xattrs, since the user may give none away: they
    are heeded here without being asked for, as the user is who set them. Root's have no need to.
    """
    return StackSpec(layers, layer_overrides=not has_trusted_xattrs())
