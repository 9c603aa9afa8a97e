"""Writers that change slots until their mount is gone, and the log that says how far they came."""

from __future__ import annotations

import errno
import os
import random
import sys
from typing import TYPE_CHECKING, NamedTuple

from tests.durability.slots import SLOTS, change, expected, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

# What a user of a dead mount, or of a disk that has lost its power, is told.
_GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EROFS}


class Slot(NamedTuple):
    """How far a slot has come."""

    seen: object  # what it showed when the writers began
    version: int  # which one that was
    done: list[int]  # versions that were reached
    on_disk: int | None  # the last of those that an fsync(2) followed
    begun: int | None  # the one that was under way

    def allowed(self, *, power_cut: bool) -> list[int]:
        """The versions that may show now, besides what was seen where the first one is."""
        kept = self.on_disk if power_cut else (self.done[-1] if self.done else None)
        first = self.version if kept is None else kept
        return list(range(first, max([first, *self.done, self.begun or 0]) + 1))


def start(root: Path, log: Path, versions: dict[str, int], seed: int) -> int:
    """Fork a writer; returns its pid. It ends with 0 once the mount is gone."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _write_until_gone(root, log, dict(versions), random.Random(seed))
    except OSError as error:
        if error.errno in _GONE:
            os._exit(0)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        os._exit(1)


def _write_until_gone(root: Path, log: Path, versions: dict[str, int], draw: random.Random) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        slot = draw.choice(SLOTS)
        versions[slot] += 1
        os.write(fd, f"begin {slot} {versions[slot]}\n".encode())
        is_on_disk = change(root, slot, versions[slot])
        os.write(fd, f"done {slot} {versions[slot]}\n".encode())
        if not is_on_disk and draw.random() < 0.3:
            sync_directory(root)
            is_on_disk = True
        if is_on_disk:
            os.write(fd, f"disk {slot} {versions[slot]}\n".encode())


def read_log(log: Path, versions: dict[str, int], seen: dict[str, object]) -> dict[str, Slot]:
    slots = {slot: Slot(seen[slot], versions[slot], [], None, None) for slot in SLOTS}
    for line in log.read_text().splitlines() if log.exists() else ():
        word, slot, number = line.split()
        version, known = int(number), slots[slot]
        match word:
            case "begin":
                slots[slot] = known._replace(begun=version)
            case "done":
                known.done.append(version)
            case _:
                slots[slot] = known._replace(on_disk=version)
    return slots


def values_of(slot: str, known: Slot, versions: list[int]) -> list[object]:
    """What those versions show."""
    return [
        known.seen if version == known.version else expected(slot, version) for version in versions
    ]
