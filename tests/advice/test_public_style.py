"""Dockerfiles in the style in which the public writes them: all that is found, line by line.

`findings.json` has it; a change there is to be read, not only to be written anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overlayfs_py.advice.linting import lint
from overlayfs_py.dockerfile.parsing import parse

_HERE = Path(__file__).parent
_EXPECTED: dict[str, list[str]] = json.loads((_HERE / "findings.json").read_text())


@pytest.mark.parametrize("name", sorted(_EXPECTED))
def test_what_is_found(name: str) -> None:
    findings = lint(parse((_HERE / "dockerfiles" / name).read_bytes(), name))

    print("\n".join(f"{each.found.position}: {each.found.message}" for each in findings))
    assert [
        f"{each.found.position.line} {each.rule.severity.word} {each.rule.name}"
        for each in findings
    ] == _EXPECTED[name]


def test_every_file_is_expected() -> None:
    assert set(_EXPECTED) == {path.name for path in (_HERE / "dockerfiles").iterdir()}


def test_nothing_is_said_of_the_good_one() -> None:
    assert _EXPECTED["good"] == []
