from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image import go_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('<a href="x">&\'', '"\\u003ca href=\\"x\\"\\u003e\\u0026\'"'),
        ("ä€😀\x7f", '"ä€😀\x7f"'),
        ("\n\r\t\b\f\x00\x1f", '"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f"'),
        ("\\b\\\\f", '"\\\\b\\\\\\\\f"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ("\udcff", '"\\ufffd"'),
        ({"b": [1, True, None], "a": {}}, '{"b":[1,true,null],"a":{}}'),
    ],
)
def test_compact_is_what_go_marshals(value: go_json.Json, expected: str) -> None:
    assert go_json.compact(value) == expected


def test_indented_is_what_go_indents() -> None:
    assert go_json.indented([{"a": "<", "b": [], "c": {}}]) == (
        '[\n    {\n        "a": "\\u003c",\n        "b": [],\n        "c": {}\n    }\n]'
    )


def test_a_map_is_sorted_by_the_bytes_of_its_keys() -> None:
    assert list(go_json.sorted_map({"b": 1, "\U00010000": 2, "\uffff": 3, "B": 4})) == [
        "B",
        "b",
        "\uffff",
        "\U00010000",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_reads_back(text: str) -> None:
    assert json.loads(go_json.compact(text)) == text
