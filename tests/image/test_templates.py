"""Templates beside Go's own: what Go 1.26 made of each is in go_templates.json (go_oracle.go)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image.templates.encoding import from_json
from overlayfs_py.image.templates.errors import ExecutionError, TemplateError
from overlayfs_py.image.templates.execution import MissingKey
from overlayfs_py.image.templates.printing import show_duration
from overlayfs_py.image.templates.template import parse_template
from tests.image.template_values import VALUE

RECORDED = json.loads((Path(__file__).parent / "go_templates.json").read_text())

# What Go does and we do not, and why.
DIVERGENT = {
    "{{1i}}": "complex numbers are not supported",
    "{{1+2i}}": "complex numbers are not supported",
    '{{define "T"}}{{template "T"}}{{end}}{{template "T"}}': "maximum template depth (100)",
}


def made_of(text: str) -> tuple[str, str]:
    try:
        return "printed", parse_template(text).execute(VALUE)
    except ExecutionError as error:
        return "execute", str(error)
    except TemplateError as error:
        return "parse", str(error)


@pytest.mark.parametrize("text", RECORDED)
def test_a_template_is_to_us_what_it_is_to_go(text: str) -> None:
    kind, shown = made_of(text)

    # JSON has no bytes that are no UTF-8: the recording has a replacement there.
    readable = shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert [kind, readable] == RECORDED[text]


@pytest.mark.parametrize("text", DIVERGENT)
def test_what_go_can_and_we_cannot_is_said(text: str) -> None:
    kind, shown = made_of(text)

    assert kind != "printed"
    assert DIVERGENT[text] in shown


_PIECES = st.sampled_from(
    [
        *(
            "{{",
            "}}",
            "{{- ",
            " -}}",
            "(",
            ")",
            "|",
            ".",
            "$x",
            ":=",
            "=",
            ",",
            " ",
            "\n",
            "/*",
            "*/",
        ),
        *(
            "if ",
            "else",
            "end",
            "range ",
            "with ",
            "define ",
            "template ",
            "block ",
            "break",
            '"T"',
        ),
        *(".ID", ".Config", ".Mixed", ".Raw.k", ".NilAny", "nil", "true", "1", "-2", "1.5", "'a'"),
        *(
            "printf ",
            '"%v%5d%q%[2]*.[1]x"',
            "index ",
            "slice ",
            "len ",
            "json ",
            "eq ",
            "and ",
            "`",
        ),
        *("truncate ", "split ", "join ", "title ", "pad ", "call ", "html ", "urlquery "),
        *("ä", "\udc80"),
    ]
)


@given(st.lists(_PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    kind, shown = made_of(text)

    assert kind == "printed" or shown.startswith("template: ")


@given(st.text(max_size=20), st.lists(st.sampled_from([".ID", ".Size", ".F", ".Mixed", "nil"])))
def test_any_pattern_is_formatted(pattern: str, arguments: list[str]) -> None:
    quoted = json.dumps(pattern).replace("\\/", "/")
    kind, _ = made_of(f"{{{{printf {quoted} {' '.join(arguments)}}}}}")

    # A lone surrogate in a literal is no string to Go either.
    assert kind == "printed" or "\\ud" in quoted


@pytest.mark.parametrize(
    "text",
    ["{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "{{if 1}}" * 5000 + "{{end}}" * 5000],
)
def test_nesting_without_end_is_an_error(text: str) -> None:
    kind, _ = made_of(text)

    assert kind == "parse"


def test_a_key_that_a_map_lacks_is_nothing_or_an_error() -> None:
    template = parse_template("{{.a}} {{.b}}")
    value = from_json({"a": 1.5})

    assert template.execute(value) == "1.5 <no value>"
    with pytest.raises(ExecutionError, match=r'at <\.b>: map has no entry for key "b"'):
        template.execute(value, MissingKey.ERROR)


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    # As Go 1.26 prints them.
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (1_500_000, "1.5ms"),
        (999_999_999, "999.999999ms"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m0s"),
        (61_500_000_000, "1m1.5s"),
        (90_061_000_000_000, "25h1m1s"),
        (-5_000_000_000, "-5s"),
    ],
)
def test_a_duration(nanoseconds: int, expected: str) -> None:
    assert show_duration(nanoseconds) == expected
