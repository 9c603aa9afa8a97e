"""docs/SECURITY.md: each promise has a name of its own, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parent.parent
_PAGE = (_CHECKOUT / "docs/SECURITY.md").read_text()
_PROMISED, _NOT_PROMISED = _PAGE.split("## Not promised")
_ITEM = re.compile(r"^- \*\*(\w+)\*\* (.+?)(?=\n- \*\*|\n\n|\Z)", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_PROMISES = dict(_ITEM.findall(_PROMISED))


def test_every_line_of_the_page_has_a_name() -> None:
    names = [name for name, _ in _ITEM.findall(_PAGE)]

    assert len(_PROMISES) > 20
    assert len(set(names)) == len(names)
    assert len(names) == len(re.findall(r"^- ", _PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", _PROMISES)
def test_a_promise_names_tests_that_exist(name: str) -> None:
    tests = _TEST.findall(_PROMISES[name])

    assert tests
    for path, test in tests:
        text = (_CHECKOUT / path).read_text()
        assert re.search(rf"def {test}\(", text) if test else "def test_" in text, (path, test)
