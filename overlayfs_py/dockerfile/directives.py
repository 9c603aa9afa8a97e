"""Directives: the `# name=value` lines that a Dockerfile may begin with."""

from __future__ import annotations

from msgspec import Struct

from overlayfs_py.late_import import late_pattern

_LINE = late_pattern(
    r"#[\t\n\v\f\r ]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*"
)
_KNOWN = ("syntax", "escape", "check")


class Check(Struct, frozen=True):
    """What `# check=` says to those who advise."""

    skip: frozenset[str] = frozenset()  # names of rules; `all` is among them for all
    error: bool = False  # findings end the build


class Directives(Struct, frozen=True):
    """What the directives say; what none says is the default."""

    syntax: str | None = None  # the image of a frontend: told, never fetched
    escape: str = "\\"
    check: Check = Check()


def read_directive(line: str) -> tuple[str, str] | None:
    """Return the name, in small letters, and the value, if `line` is a directive."""
    found = _LINE.fullmatch(line)
    if found is None or found[1].lower() not in _KNOWN:
        return None
    return found[1].lower(), found[2]


def read_check(value: str) -> Check:
    """Read `skip=Name,Other;error=true`; what it does not know has no effect."""
    skip: set[str] = set()
    error = False
    for option in value.split(";"):
        name, _, setting = option.partition("=")
        if name.strip() == "skip":
            skip |= {rule.strip() for rule in setting.split(",")}
        elif name.strip() == "error":
            error = setting.strip().lower() in ("true", "1", "t")
    return Check(frozenset(skip - {""}), error)
