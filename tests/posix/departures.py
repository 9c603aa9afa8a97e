"""Where a filesystem is known to depart from the table, each by the name of the check.

Strict: a check that is listed must fail, in the way that is listed. Nothing else is let through.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.posix.prepared import Placement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.posix.registry import Need

_EVERYWHERE = frozenset(Placement)
_NOT_IN_THE_UPPER = frozenset({Placement.LOWER, Placement.MERGED})


@dataclass(frozen=True, slots=True)
class Departure:
    """A failure to be expected."""

    reason: str
    error: int | None = None  # the errno that the check meets; None: one of its assertions fails
    placements: frozenset[Placement] = _EVERYWHERE


_AT_COPY_UP = Departure(
    "copy-up makes a new inode, and nobody can set a ctime", placements=_NOT_IN_THE_UPPER
)

# overlayfs.rst, "Non-standard behavior": a mapping of a lower file shows that file for ever.
_MAPPED_BELOW = Departure("mappings made before copy-up go stale", placements=_NOT_IN_THE_UPPER)

# A lower file that is unlinked before it was copied up has no upper inode to count on or to change
# (fs/overlayfs; with index=on too, where it had one name only).
KERNEL: Mapping[str, Departure] = {
    "mapping.a_mapped_page_is_written_into_the_same_file": _MAPPED_BELOW,
    "mapping.a_mapping_made_before_the_first_write_shows_it": _MAPPED_BELOW,
    "timestamps.a_change_within_moves_no_ctime_further_up": _AT_COPY_UP,
    "unlinking.an_unlinked_open_file_has_no_links": Departure(
        "fstat answers with the lower file's own count", placements=_NOT_IN_THE_UPPER
    ),
    "unlinking.an_unlinked_open_file_still_changes_its_attributes": Departure(
        "copy-up after unlink fails", errno.EEXIST, _NOT_IN_THE_UPPER
    ),
    "unlinking.an_unlinked_open_file_keeps_its_xattrs": Departure(
        "copy-up after unlink fails", errno.EEXIST, _NOT_IN_THE_UPPER
    ),
}

# Under ours the new ctime of a copied directory shows once the kernel was told, when nobody has
# asked for anything for a moment (drivers/outdated.py, and its own tests): soon, or at once.
UNSETTLED = frozenset({"timestamps.a_change_within_moves_no_ctime_further_up"})

PYFUSE3: Mapping[str, Departure] = {}

# pyfuse3 has no handlers for these, so the kernel answers.
PYFUSE3_LACKS: Mapping[Need, Departure] = {
    "fallocate": Departure("pyfuse3 has no fallocate handler", errno.EOPNOTSUPP),
    "tmpfile": Departure("pyfuse3 has no tmpfile handler", errno.EOPNOTSUPP),
    "ioctl": Departure("pyfuse3 has no ioctl handler", errno.ENOTTY),
    "seek_hole": Departure("pyfuse3 has no lseek handler: the kernel says that all is data"),
}

_CTIME_OF_THE_KERNEL = Departure("the kernel keeps the ctime, and does not move it for flags")

WRITEBACK: Mapping[str, Departure] = {
    "timestamps.changes_of_flags_move_ctime_alone": _CTIME_OF_THE_KERNEL,
    "timestamps.extended_flags_are_the_same_flags": _CTIME_OF_THE_KERNEL,
}

WRITEBACK_LACKS: Mapping[Need, Departure] = {
    "seek_hole": Departure("what is not written back yet would be a hole: all is said to be data"),
}
