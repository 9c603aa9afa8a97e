"""Dockerfiles, words and ignore rules beside BuildKit: its outcomes are in buildkit.json.

buildkit_oracle.go makes them anew. Where ours differ, `_DIFFERENCES` says why.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overlayfs_py.dockerfile.errors import DockerfileError, ExpansionError
from overlayfs_py.dockerfile.expansion import template
from overlayfs_py.dockerfile.ignore import IgnoreRules
from overlayfs_py.dockerfile.parsing import parse
from tests.dockerfile.as_buildkit import PATHS, VALUES, described

_HERE = Path(__file__).parent
_RECORDED = json.loads((_HERE / "buildkit.json").read_text())
_FAILURE = "error"
_DIFFERENCES = {
    "cmd-huge-numbers": "an array of something else than strings is refused whatever its numbers",
    "env-required": "a value may come from the command line",
    "env-required-empty": "likewise",
    "heredoc-copy-json": "a JSON form has no heredocs: BuildKit makes an empty file",
    "only-arg": "BuildKit says so later",
    "stopsignal-flag": "an unknown flag is refused: BuildKit drops it",
}


@pytest.mark.parametrize(
    "case", [case for case in _RECORDED if "file" in case], ids=lambda case: case["file"]
)
def test_dockerfiles(case) -> None:
    text = (_HERE / "corpus" / case["file"]).read_bytes()
    try:
        ours = described(parse(text, case["file"]))
    except DockerfileError as error:
        ours = {_FAILURE: str(error)}

    theirs = case["outcome"]
    failed = [isinstance(outcome, dict) and _FAILURE in outcome for outcome in (ours, theirs)]
    same = failed[0] == failed[1] and (failed[0] or ours == theirs)
    assert same == (case["file"] not in _DIFFERENCES), (ours, theirs)


def test_words() -> None:
    different = [
        (case, ours)
        for case in _RECORDED
        if "word" in case and (ours := _expanded(case)) != _text(case["outcome"])
    ]

    assert not different


def _expanded(case) -> str | None:
    try:
        word = template(case["word"], case["escape"], quotes=case.get("quotes", False))
        return word.expand(VALUES).text
    except ExpansionError:
        return None


def _text(outcome) -> str | None:
    return outcome.get("text")


def test_ignore_rules() -> None:
    different = [
        (case, ours)
        for case in _RECORDED
        if "rules" in case and (ours := _hidden(case["rules"])) != _paths(case["outcome"])
    ]

    assert not different


def _hidden(text: str) -> list[str] | None:
    try:
        rules = IgnoreRules.parse(text.encode())
    except DockerfileError:
        return None
    decided = ((path, rules.match(path)) for path in PATHS)
    return [path for path, rule in decided if rule is not None and not rule.negated]


def _paths(outcome) -> list[str] | None:
    return outcome if isinstance(outcome, list) else None
