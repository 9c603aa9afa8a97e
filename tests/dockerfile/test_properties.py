"""What holds for every word, every rule and every text, beside another port of BuildKit's lexer."""

from __future__ import annotations

import contextlib

from e2b_dockerfile_utils import PatternMatcher, ShellLex
from hypothesis import given, settings
from hypothesis import strategies as some

from overlayfs_py.dockerfile.errors import DockerfileError, ExpansionError
from overlayfs_py.dockerfile.expansion import Expanded, expand, expand_words
from overlayfs_py.dockerfile.ignore import IgnoreRules
from overlayfs_py.dockerfile.parsing import parse
from tests.dockerfile.as_buildkit import PATHS, VALUES

_FEW = settings(max_examples=150, deadline=None)


def _joined(pieces: str, most: int) -> some.SearchStrategy[str]:
    return some.lists(some.sampled_from(pieces.split("|")), max_size=most).map("".join)


_WORDS = _joined(
    r"$A|${A}|$B|${B|}|${C:-|${U:-|${U-|${B:+|${A+|${U?|${A:?|${A#|${A##|${A%|${A%%|${A/|${A//|"
    r"${LONG%%.|${LONG##*/|/|a|b|*|?|\|\\|\*|\}|\/|"
    "\"|'|`| |\t|$|${|<|<<|%|:|x|é|$é|$D|$E|$F|[",
    8,
)
_PATTERNS = _joined("a|b|c|foo|/|/|*|**/|/**|?|.a|[ab]|[^a]|[a-c]|é|-", 5).filter(
    lambda pattern: pattern.strip("/") != ""
)
_RULES = some.lists(some.tuples(some.sampled_from(["", "!", "/"]), _PATTERNS).map("".join))

_TEXTS = some.binary(max_size=80) | _joined(
    "FROM a|\n|\n|RUN |COPY |ADD |ENV |ARG |LABEL |HEALTHCHECK |ONBUILD |SHELL |# escape=`|\\\n|"
    "<<EOF|EOF|--mount=|type=|cache|,target=|--from=|[|]|\"|'|=|$x|${x:-|}| |x|\t|\r|\0|é",
    14,
).map(str.encode)


def _expanded(word: str, values: dict[str, str]) -> Expanded | None:
    try:
        return expand(word, values)
    except ExpansionError:
        return None


@_FEW
@given(_WORDS)
def test_a_word_is_what_another_lexer_makes_of_it(word: str) -> None:
    try:
        theirs = ShellLex("\\", env=VALUES, skip_unset_env=False).process_word(word)
    except ValueError:
        theirs = None
    ours = _expanded(word, VALUES)

    assert (None if ours is None else ours.text) == theirs


@_FEW
@given(_WORDS)
def test_a_word_depends_on_what_it_used_and_on_nothing_else(word: str) -> None:
    found = _expanded(word, VALUES)
    if found is not None:
        values = {name: VALUES[name] for name in found.used}

        again = _expanded(word, values)
        # What it reads but does not take may still be required to have a value.
        assert again is None or again.text == found.text
        assert not found.missing & VALUES.keys()


@_FEW
@given(some.text(some.characters(exclude_characters="'")))
def test_a_quoted_text_stays_as_it_is(text: str) -> None:
    assert expand(f"'{text}'", VALUES).text == text
    assert expand_words(f"'{text}'", VALUES).words == ((text,) if text else ())


@_FEW
@given(_RULES)
def test_rules_hide_what_another_matcher_hides(lines: list[str]) -> None:
    text = "\n".join(lines).encode()
    try:
        theirs = PatternMatcher(lines)
    except ValueError:
        theirs = None
    try:
        ours = IgnoreRules.parse(text)
    except DockerfileError:
        ours = None

    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        decided = {path: ours.match(path) for path in PATHS}
        hidden = {path for path, rule in decided.items() if rule is not None and not rule.negated}
        assert hidden == {path for path in PATHS if theirs.matches(path)}


@_FEW
@given(_RULES)
def test_a_directory_that_may_show_nothing_shows_nothing(lines: list[str]) -> None:
    with contextlib.suppress(DockerfileError):
        rules = IgnoreRules.parse("\n".join(lines).encode())
        for path in PATHS:
            top = path.split("/")[0]
            above = rules.root.below(top)
            rule = rules.match(path)
            if path != top and above.excluded and not above.may_show(top):
                assert rule is not None
                assert not rule.negated


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_any_text_is_read_or_refused_in_one_line(text: bytes) -> None:
    try:
        found = parse(b"FROM a\n" + text, "Dockerfile")
    except DockerfileError as error:
        lines = [str(error), *error.details]
        assert all(line.isprintable() for line in lines)
        assert lines[0].startswith("Dockerfile:")
    else:
        assert found.stages
