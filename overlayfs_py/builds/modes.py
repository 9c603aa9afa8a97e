"""The modes of `--chmod`: octal, or symbolic as BSD's setmode(3) has them, without a umask.

Source: tonistiigi/dchapes-mode, mode.go, which BuildKit asks.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.failures import BadOption
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 0o7777
DIRECTORY_MODE = 0o755  # of what no source has a mode for
_CLAUSE = late_pattern(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)")
_ACTION = late_pattern(r"([-+=])([rwxXstugo]*)")
_ALL = 0o6777  # what no class is: all but the sticky bit
_CLASSES = {"u": 0o4700, "g": 0o2070, "o": 0o007, "a": _ALL}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


class _Step(NamedTuple):
    """One change: `+` and `-` of bits, `X`, or a class whose bits another one gets."""

    kind: str
    bits: int  # what is changed
    operator: str = ""  # with which bits of a class are copied


class Mode(Struct, frozen=True):
    """What becomes of the modes of all that is copied."""

    octal: int | None = None
    steps: tuple[_Step, ...] = ()

    @property
    def of_made_directories(self) -> int:
        """Return the mode of the directories on the way to a destination."""
        return DIRECTORY_MODE if self.octal is None else self.octal & 0o777

    def applied(self, mode: int) -> int:
        """Return the permission bits of something with these type and permission bits."""
        if self.octal is not None:
            return self.octal
        bits = stat.S_IMODE(mode)
        for step in self.steps:
            if step.kind == "+":
                bits |= step.bits
            elif step.kind == "-":
                bits &= ~step.bits
            elif step.kind in _SHIFTS:
                bits = _copied(bits, step)
            elif mode & 0o111 or stat.S_ISDIR(mode):
                bits |= step.bits
        return bits


AS_IT_IS = Mode()


def parse_mode(text: str) -> Mode:
    """Read the value of `--chmod`.

    Raises:
        BadOption: it is neither an octal number up to 7777 nor symbolic.
    """
    if text[:1].isdecimal():
        if not re.fullmatch("[0-7]{1,20}", text) or int(text, 8) > _LARGEST:
            raise BadOption(f"--chmod={text}", "not an octal number between 0 and 7777")
        return Mode(int(text, 8))
    steps: list[_Step] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            why = "neither octal nor symbolic (u=rwX,go=rX)"
            raise BadOption(f"--chmod={text}", why)
        who = 0
        for each in found[1]:
            who |= _CLASSES[each]
        for operator, letters in _ACTION.findall(found[2]):
            steps += _steps(who, operator, letters)
    return Mode(None, tuple(steps))


def _steps(who: int, operator: str, letters: str) -> Iterator[_Step]:
    """The changes that the letters mean; `who` is 0 where no class is named."""
    classes = who or _ALL
    if "t" in letters and who != _CLASSES["o"]:  # others alone have no sticky bit
        classes = who | stat.S_ISVTX  # where no class is named this bit is all
    bits = 0
    for letter in letters:
        if letter in _BITS:
            bits |= _BITS[letter]
        elif letter == "s":
            bits |= stat.S_ISUID | stat.S_ISGID
        elif letter == "t":
            bits |= stat.S_ISVTX
        elif letter == "X" and operator == "-":
            bits |= _BITS["x"]
    copies = [letter for letter in letters if letter in _SHIFTS]
    if operator == "=" and (bits or not copies):
        yield _Step("-", classes)
    if bits:
        yield _Step("-" if operator == "-" else "+", bits & classes)
    if "X" in letters and operator != "-":
        yield _Step("X", _BITS["x"] & classes)
    for letter in copies:
        yield _Step(letter, classes, operator)


def _copied(bits: int, step: _Step) -> int:
    had = bits >> _SHIFTS[step.kind] & 0o7
    wanted = (had << 6 | had << 3 | had) & step.bits
    if step.operator == "+":
        return bits | wanted
    if step.operator == "-":
        return bits & ~wanted
    return bits & ~(step.bits & 0o777) | wanted
