"""Uppers that are thrown away: no wait for the disk, and no data copied for an owner or a mode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.mounts.uppers import throwaway_upper
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import AttributeChange, StackSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("redirects", [True, False])
def test_a_mode_is_changed_without_the_data_where_that_can_be_found(
    tmp_path: Path, *, redirects: bool
) -> None:
    layer, scratch = tmp_path / "layer", tmp_path / "scratch"
    layer.mkdir(mode=0o750)
    scratch.mkdir()
    data = os.urandom(300_000)
    (layer / "file").write_bytes(data)
    spec = StackSpec((os.fsencode(layer),), redirect_dir=redirects)

    spec = throwaway_upper(spec, os.fsencode(scratch))
    with Union(spec) as union:
        node = union.lookup(union.root, b"file")
        assert node is not None
        union.hold(node)
        union.change_attributes(node, AttributeChange(mode=0o600))
        blocks = (scratch / "upper" / "file").stat().st_blocks
        read = union.read(node, 0, len(data))

    assert spec.volatile
    assert (scratch / "upper").stat().st_mode & 0o777 == 0o750
    assert (blocks * 512 < len(data)) == redirects  # a block may hold its xattrs
    assert read == data
