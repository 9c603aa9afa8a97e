"""Names of a tar as paths below the layer's root.

Absolute names lie below the root too, as docker and umoci take them; a name that climbs out of it
is refused where docker refuses and umoci clamps.
"""

from __future__ import annotations

Path = tuple[bytes, ...]  # components below the root, which is ()

LONGEST_NAME = 255
# PATH_MAX. A name may be longer on Linux, but no program can unpack it in one call, and one entry
# of a megabyte would make half a million directories.
LONGEST_PATH = 4096

WHITEOUT_PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
# aufs's own housekeeping, which no layer means: `.wh..wh.plnk`, `.wh..wh.orph`, `.wh..wh.aufs`.
PRIVATE_PREFIX = b".wh..wh."


def parse_path(name: bytes) -> Path:
    """Return a name's components.

    Raises:
        ValueError: it leaves the root, or no Linux could hold it.
    """
    if len(name) > LONGEST_PATH:
        raise ValueError(f"a name of {len(name)} bytes")
    if b"\0" in name:
        raise ValueError("a NUL in a name")
    path: list[bytes] = []
    for component in name.split(b"/"):
        if component == b"..":
            if not path:
                raise ValueError("the name leads out of the layer")
            path.pop()
        elif component not in (b"", b"."):
            if len(component) > LONGEST_NAME:
                raise ValueError(f"a name of {len(component)} bytes")
            path.append(component)
    return tuple(path)
