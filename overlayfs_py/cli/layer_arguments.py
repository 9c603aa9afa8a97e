"""What several commands about layers take, and how they say what failed."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.packs.values import Path as InnerPath

# For completion only: what can be read is found out by reading it.
INPUT = click.Path(readable=False, allow_dash=True, path_type=Path)
OUTPUT = click.Path(readable=False, allow_dash=True, path_type=Path)
PACK = click.Path(readable=False, path_type=Path)

_SIZE = re.compile(r"([0-9]{1,7})([KkMm]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


class _Size(click.ParamType[int]):
    """A power of two, maybe with K or M behind it."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        found = _SIZE.fullmatch(str(value))
        size = int(found[1]) * _UNITS[found[2].lower()] if found else 0
        if not 1 << 12 <= size <= 1 << 20 or size & (size - 1):
            self.fail(f"{value}: a power of two from 4K to 1M is needed", param, ctx)
        return size


SIZE = _Size()


def components(path: str) -> InnerPath:
    """A path in a layer as somebody wrote it, with or without a slash in front."""
    return tuple(name for name in os.fsencode(path).split(b"/") if name not in (b"", b"."))


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Let an error of a tar say which tar it is about."""
    from overlayfs_py.tars.errors import BadCompression, BadTar, TooLarge

    try:
        yield
    except (BadTar, BadCompression, TooLarge) as error:
        error.filename = "stdin" if str(source) == "-" else str(source)
        raise
