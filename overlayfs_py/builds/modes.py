"""The modes of `--chmod`: octal, or symbolic as chmod(1) has them, without a umask."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BadOption

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 0o7777
DIRECTORY_MODE = 0o755  # of what no source has a mode for
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_OF_CLASS = {"u": 0o700, "g": 0o070, "o": 0o007}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_SET_ID = {"u": stat.S_ISUID, "g": stat.S_ISGID, "o": 0}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


@dataclass(frozen=True, slots=True)
class Mode:
    """What becomes of the modes of all that is copied."""

    octal: int | None = None
    actions: tuple[tuple[str, str, str], ...] = ()  # for whom, the operator, what

    @property
    def of_made_directories(self) -> int:
        """Return the mode of the directories on the way to a destination."""
        return DIRECTORY_MODE if self.octal is None else self.octal & 0o777

    def applied(self, mode: int) -> int:
        """Return the permission bits of something with these type and permission bits."""
        if self.octal is not None:
            return self.octal
        had_x = stat.S_ISDIR(mode) or bool(mode & 0o111)
        bits = stat.S_IMODE(mode)
        for people, operator, what in self.actions:
            bits = _acted(bits, people, operator, what, had_x=had_x)
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
    actions: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            why = "neither octal nor symbolic (u=rwX,go=rX)"
            raise BadOption(f"--chmod={text}", why)
        people = found[1] or "a"
        actions += [(people, *each) for each in _ACTION.findall(found[2])]
    return Mode(None, tuple(actions))


def _acted(bits: int, people: str, operator: str, what: str, *, had_x: bool) -> int:
    classes: Sequence[str] = "ugo" if "a" in people else people
    asked = 0
    for each in classes:
        asked |= _asked(bits, each, what, had_x=had_x)
    if "t" in what and ("a" in people or "o" in people):
        asked |= stat.S_ISVTX
    if operator == "+":
        return bits | asked
    if operator == "-":
        return bits & ~asked
    cleared = sum(_OF_CLASS[each] | _SET_ID[each] for each in set(classes))
    if "a" in people:
        cleared |= stat.S_ISVTX
    return bits & ~cleared | asked


def _asked(bits: int, of: str, what: str, *, had_x: bool) -> int:
    """The bits that the letters mean for one class."""
    if what in _SHIFT:  # as another class has them
        copied = bits >> _SHIFT[what] & 0o7
        return copied << _SHIFT[of]
    asked = _SET_ID[of] if "s" in what else 0
    for letter in what:
        if letter in _BITS:
            asked |= _BITS[letter] & _OF_CLASS[of]
        elif letter == "X" and had_x:
            asked |= _BITS["x"] & _OF_CLASS[of]
    return asked
