"""Rules of a `.dockerignore`, and which one decided."""

from __future__ import annotations

import time

import pytest

from overlayfs_py.dockerfile.errors import DockerfileError, Position
from overlayfs_py.dockerfile.ignore import IgnoreRules


@pytest.mark.parametrize(
    ("rules", "hidden", "seen"),
    [
        ("foo", "foo foo/a", "a/foo foob"),
        ("/foo/", "foo foo/a", "a/foo"),
        ("*", "a a/b .c", ""),
        ("*.md\n!README.md", "a.md", "README.md b/a.md"),
        ("**/*.md", "a.md b/a.md", "a.mdx"),
        ("**/node_modules", "node_modules a/b/node_modules/c", "xnode_modules"),
        ("a/**/b", "a/b a/x/b a/x/y/b/c", "b a/xb"),
        ("a/**", "a/b a/b/c", "a"),
        ("a?c/[x-z]", "abc/x", "abc/a a/c/x abbc/x"),
        ("a\n!a/b", "a a/c a/bc", "a/b a/b/c"),
        ("!a/b\na", "a a/b", ""),
        ("a\n!a/b\na/b/c", "a/b/c", "a/b a/b/d"),
        ("  a  \n#b\n #c\n\n", "a #c", "b c"),
        ("a/../b//c/.", "b/c", "a"),
        ("\\*x\n[!]]", "*x", "x"),
        ("b\n/!b\n/ a", "a", "b"),
        ("\ufeffa\r\nb\r\n", "a b", ""),
        (".\n/\n..\n./", "", "a"),
        ("a*b*c*d", "a_b_c_d abcd/x", "a/b/c/d"),
        ("**/a/**/b/**/c", "a/b/c x/a/y/b/z/c", "a/c"),
    ],
)
def test_what_is_hidden(rules: str, hidden: str, seen: str) -> None:
    found = IgnoreRules.parse(rules.encode())
    decided = {path: found.match(path) for path in (hidden + " " + seen).split()}

    hides = [path for path, rule in decided.items() if rule is not None and not rule.negated]
    assert hides == hidden.split()


def test_the_rule_that_decided_is_told() -> None:
    found = IgnoreRules.parse(b"# all\n*\n!src\nsrc/**/*.tmp\n", "app.dockerignore")
    texts = {}
    for path in ("x", "src/a", "src/d/b.tmp"):
        rule = found.match(path)
        assert rule is not None
        texts[path] = (rule.text, str(rule.position))

    assert texts == {
        "x": ("*", "app.dockerignore:2:1"),
        "src/a": ("!src", "app.dockerignore:3:1"),
        "src/d/b.tmp": ("src/**/*.tmp", "app.dockerignore:4:1"),
    }


def test_a_walk_is_told_where_something_may_be_seen() -> None:
    root = IgnoreRules.parse(b"a\nb\nc\n!a/x/y\n!b/**/z\n").root

    shown = {name: root.below(name).may_show(name) for name in "abc"}
    assert shown == {"a": True, "b": True, "c": False}
    x, z = (root.below("a").below(f"a/{name}") for name in "xz")
    assert (x.may_show("a/x"), z.may_show("a/z")) == (True, False)


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("a\n[b", ".dockerignore:2:1: bad pattern '[b': a [ that is not closed"),
        ("a\\", ".dockerignore:1:1: bad pattern 'a\\': a \\ at the end escapes nothing"),
        ("!", ".dockerignore:1:1: a pattern is missing after !"),
        ("[z-a]", ".dockerignore:1:1: bad pattern '[z-a]': no range z-a"),
    ],
)
def test_patterns_that_are_none(rules: str, why: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        IgnoreRules.parse(rules.encode())

    assert str(raised.value) == why


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "**/a/" * 40 + "b", "**a" * 40])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    rules = IgnoreRules.parse(pattern.encode())
    began = time.process_time()

    assert rules.match("a" * 255) is None or pattern == "**a" * 40
    rules.match("a/" * 2000 + "c")
    # A backtracking matcher needs years; the bound is generous.
    assert time.process_time() - began < 20


def test_patterns_of_flags_are_not_lines_of_a_file() -> None:
    rules = IgnoreRules.of(["#a", "/b", " c ", "d/", "!d/e"], Position("D", 1))

    hidden = {path: rules.match(path) for path in ("#a", "b", "c", "d", "d/e")}
    assert [path for path, rule in hidden.items() if rule is not None and not rule.negated] == [
        "#a",
        "c",
        "d",
    ]
