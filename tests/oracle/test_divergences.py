"""The list of differences that we choose is one list, in the document and in the code."""

from __future__ import annotations

import re
from pathlib import Path

from tests.oracle import divergences

_DOCUMENT = Path(__file__).parents[2] / "docs" / "DIVERGENCES.md"


def test_each_predicate_is_an_entry_of_the_document() -> None:
    entries = re.findall(r"^\| `(\w+)` \|", _DOCUMENT.read_text(), re.MULTILINE)

    assert entries == divergences.names()
