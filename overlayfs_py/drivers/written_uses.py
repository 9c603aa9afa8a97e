"""Uses of a mount's layers as lines of JSON: in a container's directory, and as an answer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from overlayfs_py.drivers.uses import Use
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.drivers.uses import Uses


def lines_of(uses: Iterable[Use], *, exact: bool) -> Iterator[str]:
    """Yield what `read_lines` reads: an object of JSON in each line."""
    for use in uses:
        told = {"path": os.fsdecode(use.path), "kinds": sorted(use.kinds), "exact": exact}
        yield json.dumps(told) + "\n"


class ReadUses(NamedTuple):
    """Uses that were written down."""

    uses: list[Use]
    exact: bool  # whether all of them are


def read_lines(lines: Iterable[str | bytes]) -> ReadUses:
    """Return uses, each path once; what is no such line is left out: a daemon was killed."""
    found: dict[bytes, frozenset[str]] = {}
    exact = True
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        match told:
            case {"path": str(path), "kinds": list(kinds), "exact": bool(is_exact)}:
                known = found.get(os.fsencode(path), frozenset())
                found[os.fsencode(path)] = known | set(map(str, kinds))
                exact = exact and is_exact
            case _:
                continue
    return ReadUses([Use(path, kinds) for path, kinds in found.items()], exact)


def add_to_file(fd: int, uses: Uses) -> None:
    """Write down, in a file open for reading and appending, what is not there yet."""
    with open(fd, "rb", closefd=False) as file:
        known = {use.path: use.kinds for use in read_lines(file).uses}
    new = [use for use in uses.recorded() if not use.kinds <= known.get(use.path, frozenset())]
    with open(fd, "a", closefd=False) as file:
        file.writelines(lines_of(new, exact=uses.exact))
