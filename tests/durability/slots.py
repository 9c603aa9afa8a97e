"""What writers change, as a model: slots that go from version to version, and what each shows."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("data", "replace", "move", "tree", "gone", "mode")
PER_KIND = 3
BLOCK = 4096
_SIZE = 3 * BLOCK - 300
_MODES = (0o644, 0o600, 0o640)
_GONE = ("file", "nothing", "link")
NO_VERSION = "new"  # the suffix of a version that is to replace another

SLOTS = [f"{kind}{number}" for kind in KINDS for number in range(PER_KIND)]


def kind_of(slot: str) -> str:
    return slot.rstrip("0123456789")


def content(slot: str, version: int) -> bytes:
    line = f"{slot} {version}\n".encode()
    return (line * (_SIZE // len(line) + 1))[:_SIZE]


def lay_out(root: Path) -> None:
    """Write version 0 of every slot."""
    root.mkdir()
    for slot in SLOTS:
        match kind_of(slot):
            case "tree":
                (root / f"{slot}.a/deep").mkdir(parents=True)
                (root / f"{slot}.a/deep/inside").write_bytes(content(slot, 0))
            case "move":
                (root / f"{slot}.a").write_bytes(content(slot, 0))
            case _:
                (root / slot).write_bytes(content(slot, 0))
                (root / slot).chmod(_MODES[0])


def expected(slot: str, version: int) -> object:
    """What a slot shows in a version."""
    match kind_of(slot):
        case "data" | "replace":
            return content(slot, version)
        case "move" | "tree":
            return [f"{slot}.{'ab'[version % 2]}", content(slot, 0)]
        case "gone":
            return _GONE[0 if version == 0 else 2 - version % 2]
        case _:
            return [_MODES[version % 3], content(slot, 0)]


def shown(root: Path, slot: str) -> object:
    """What a slot shows now."""
    match kind_of(slot):
        case "data" | "replace":
            return (root / slot).read_bytes()
        case "move":
            return _found(slot, [root / f"{slot}.a", root / f"{slot}.b"], "")
        case "tree":
            return _found(slot, [root / f"{slot}.a", root / f"{slot}.b"], "deep/inside")
        case "gone":
            if (root / slot).is_symlink():
                return _GONE[2]
            return _GONE[0] if (root / slot).exists() else _GONE[1]
        case _:
            mode = stat.S_IMODE((root / slot).stat().st_mode)
            return [mode, (root / slot).read_bytes()]


def _found(slot: str, places: list[Path], below: str) -> object:
    there = [place for place in places if os.path.lexists(place)]
    if len(there) != 1:
        return f"{slot}: {[place.name for place in there]}"
    return [there[0].name, (there[0] / below if below else there[0]).read_bytes()]


def is_one_of(slot: str, value: object, allowed: list[object]) -> bool:
    """Whether a slot shows one of some versions; one that is written in place, of its blocks."""
    if kind_of(slot) != "data" or not isinstance(value, bytes):
        return value in allowed
    return len(value) == _SIZE and all(
        any(value[at : at + BLOCK] == one[at : at + BLOCK] for one in allowed)  # type: ignore[index]
        for at in range(0, _SIZE, BLOCK)
    )


def change(root: Path, slot: str, version: int) -> bool:
    """Bring a slot from the version before to this one; returns whether that is on the disk."""
    match kind_of(slot):
        case "data":
            _write(root / slot, content(slot, version), os.O_WRONLY)
            return True
        case "replace":
            fresh = root / f"{slot}.{NO_VERSION}"
            _write(fresh, content(slot, version), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            fresh.rename(root / slot)
        case "move" | "tree":
            (root / f"{slot}.{'ba'[version % 2]}").rename(root / f"{slot}.{'ab'[version % 2]}")
        case "gone":
            if version % 2:
                (root / slot).unlink()
            else:
                (root / slot).symlink_to("nowhere")
        case _:
            (root / slot).chmod(_MODES[version % 3])
    return False


def sync_directory(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(file: Path, data: bytes, flags: int) -> None:
    fd = os.open(file, flags, 0o644)
    try:
        os.pwrite(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)
