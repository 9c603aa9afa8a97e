"""`.dockerignore`: which files of a context a build does not see, and which rule says so.

The rules are Docker's: patterns are anchored at the context's root, the last one that matches
decides, `!` takes back, and what is below a directory that matches, matches.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.dockerfile.errors import DockerfileError, Position
from overlayfs_py.dockerfile.ignore_patterns import BadPattern, compile_pattern
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LARGEST_BYTES = 1 << 20
_BOM = "\ufeff"
_WILD = frozenset("*?[\\^")


class Rule(Struct, frozen=True, eq=False):
    """A line of the file."""

    text: str  # as written, without white space around it
    position: Position
    pattern: str  # cleaned, without `!` and without `/` before it
    negated: bool  # `!`: what it matches is seen after all
    matches: Callable[[str], bool]


class Ignored(Struct, frozen=True):
    """What the rules say of one path; `below` tells of what is in it if it is a directory."""

    rules: tuple[Rule, ...]
    hit: tuple[bool, ...] = ()  # for each rule whether it matches the path or a directory above
    rule: Rule | None = None  # the one that decided, None if none had anything to say

    @property
    def excluded(self) -> bool:
        """Whether the build does not see the path."""
        return self.rule is not None and not self.rule.negated

    def below(self, path: str) -> Ignored:
        """What the rules say of `path`, the whole path of something in this directory."""
        hits: list[bool] = []
        deciding: Rule | None = None
        excluded = False
        for index, rule in enumerate(self.rules):
            hit = bool(self.hit) and self.hit[index]
            if not hit:
                # As Docker: a rule that could change nothing is not asked, and so is not known
                # to match when it comes to what lies below.
                hit = rule.negated == excluded and rule.matches(path)
            hits.append(hit)
            if hit and rule.negated == excluded:
                deciding, excluded = rule, not rule.negated
        return Ignored(self.rules, tuple(hits), deciding)

    def may_show(self, path: str) -> bool:
        """Whether something below the excluded directory `path`, which this is of, may be seen."""
        return any(rule.negated and _reaches_below(rule, path) for rule in self.rules)


class IgnoreRules:
    """The rules of one file, or of none."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)

    @staticmethod
    def parse(text: bytes, name: str = ".dockerignore") -> IgnoreRules:
        """Read a `.dockerignore`.

        Raises:
            DockerfileError: it is too large, or a pattern is none.
        """
        if len(text) > LARGEST_BYTES:
            raise DockerfileError(
                Position(name, 1), f"{len(text)} bytes: it has at most {LARGEST_BYTES}"
            )
        decoded = text.decode("utf-8", "surrogateescape").removeprefix(_BOM)
        rules = (
            _rule(line, Position(name, number))
            for number, line in enumerate(decoded.split("\n"), 1)
        )
        return IgnoreRules(rule for rule in rules if rule is not None)

    @staticmethod
    def of(patterns: Iterable[str], position: Position) -> IgnoreRules:
        """The rules of `--exclude` flags: patterns alone, so no comments, and `/` stays `/`.

        Raises:
            DockerfileError: a pattern is none.
        """
        texts = (pattern.strip(SPACES) for pattern in patterns)
        return IgnoreRules(_pattern_rule(text, text, position) for text in texts if text)

    @property
    def root(self) -> Ignored:
        """The context itself, which no rule can take away: its entries are asked `below`."""
        return Ignored(self.rules)

    def match(self, path: str) -> Rule | None:
        """Return the rule that decided over a path, None if none had anything to say.

        The path is hidden if that rule is not negated. A walk asks `root` and `below` instead,
        which look at each directory once.
        """
        ignored = self.root
        components = path.split("/")
        for count in range(1, len(components) + 1):
            ignored = ignored.below("/".join(components[:count]))
        return ignored.rule


def clean(path: str) -> str:
    """Return the shortest way to write a path, as Go's filepath.Clean does."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _rule(line: str, position: Position) -> Rule | None:
    if line.startswith("#"):
        return None
    text = line.strip(SPACES)
    if not text:
        return None
    # Docker reads a line twice, so `/!a` and `/ a` mean `!a` and `a`.
    return _pattern_rule(text, _anchored(text), position, line)


def _pattern_rule(text: str, cleaned: str, position: Position, line: str = "") -> Rule:
    negated, pattern = _negation(cleaned)
    if negated and not pattern:
        raise DockerfileError(position, "a pattern is missing after !", line)
    try:
        return Rule(text, position, pattern, negated, compile_pattern(pattern))
    except BadPattern as error:
        raise DockerfileError(position, f"bad pattern {quoted(pattern)}: {error}", line) from None


def _anchored(text: str) -> str:
    negated = text.startswith("!")
    pattern = text[1:].strip(SPACES) if negated else text
    pattern = clean(pattern) if pattern else ""
    if len(pattern) > 1:
        pattern = pattern.removeprefix("/")
    return f"!{pattern}" if negated else pattern


def _negation(text: str) -> tuple[bool, str]:
    text = clean(text.strip(SPACES))
    return (True, text[1:]) if text.startswith("!") else (False, text)


def _reaches_below(rule: Rule, path: str) -> bool:
    """Whether the pattern of a rule may match something below a directory."""
    for component, name in zip(rule.pattern.split("/"), path.split("/"), strict=False):
        if _WILD & set(component):
            return True
        if component != name:
            return False
    # A pattern that ends above the directory matches it, and so it would not be excluded.
    return True
