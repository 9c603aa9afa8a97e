"""Lower layers as the tests make them, or each packed at the moment of mounting.

`pytest --lowers=packs` turns every directory that a mount of ours gets as a lower layer into a
pack, so that every test of a mount becomes a test of packs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.writer import PackWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where packs are made; None leaves directories as they are.
packed_in: ContextVar[Path | None] = ContextVar("packed_in", default=None)

# Tests of what a pack has not, by how their ids begin.
NOT_OF_PACKS = {
    "tests/union/test_hostile.py::test_a_directory_that_becomes_a_link": "a pack does not change",
    "tests/union/test_hostile.py::test_a_file_that_becomes_a_": "a pack does not change",
    "tests/union/test_owners.py::test_what_another_user_puts_into": "a pack does not change",
    "tests/drivers/test_hostile_layers.py::": "of what a user sets, a pack has nothing",
    "tests/union/test_lookup.py::test_marks_of_the_other_namespace": "a pack has no marks to heed",
    # Packed by root, whose marks they are not.
    **{
        f"tests/union/test_lookup.py::test_{name}": "root packs no marks of users"
        for name in (
            "a_whiteout_hides_what_is_below[layer-file-user",
            "a_whiteout_hides_what_is_below[layer-dir-user",
            "a_whiteout_hides_what_is_below[layer-link-user",
            "a_whiteout_in_the_only_layer_shows_nothing[user",
            "an_opaque_directory_hides_the_layers_below[layer-user.overlay",
        )
    },
    "tests/drivers/test_direct_files.py::test_the_time_of_birth_is_shown": "a pack keeps none",
    "tests/drivers/test_messages.py::test_forgotten_nodes_go_away": "no descriptor for each file",
    "tests/drivers/test_mounting.py::test_a_directory_that_the_server_may_not_list": (
        "whoever may read a pack may read all of it"
    ),
    "tests/drivers/test_mounting.py::test_no_layer_must_contain_the_mount_point": (
        "a pack contains no mount point"
    ),
}


@contextmanager
def as_packs() -> Iterator[None]:
    """Let every lower layer be a pack inside the block."""
    home = Path(tempfile.mkdtemp(prefix="overlayfs-py-packs-"))
    home.chmod(0o755)
    before = packed_in.set(home)
    try:
        yield
    finally:
        packed_in.reset(before)
        shutil.rmtree(home)


def as_served(lower: Path) -> Path:
    """Return what is mounted for a lower layer: itself, or a pack of what it holds now.

    A layer that holds everything, the packs too, stays as it is.
    """
    home = packed_in.get()
    if home is None or not lower.is_dir() or home.is_relative_to(lower.resolve()):
        return lower
    return pack(lower, home)


def pack(directory: Path, home: Path) -> Path:
    """Make a pack of a directory, with a name of its own in `home`; anybody may read it."""
    fd, name = tempfile.mkstemp(dir=home, prefix=f"{directory.name}-", suffix=".pack")
    os.fchmod(fd, 0o644)
    with os.fdopen(fd, "wb") as out:
        writer = PackWriter(out)
        pack_directory(os.fsencode(directory), writer, keep_atimes=True)
        writer.finish()
    return Path(name)
