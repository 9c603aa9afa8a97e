from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image.columns import align
from overlayfs_py.image.times import go_text, is_dated, parse_time, rfc3339
from overlayfs_py.image.units import human_duration, human_size

_SECOND_NS = 1_000_000_000
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


@pytest.mark.parametrize(
    ("size", "digits", "expected"),
    # docker/go-units, size_test.go, and its known wart at the end of a unit.
    [
        (0, 3, "0B"),
        (999, 3, "999B"),
        (1000, 3, "1kB"),
        (1024, 4, "1.024kB"),
        (1_000_000, 4, "1MB"),
        (1_048_576, 4, "1.049MB"),
        (211_500_000, 3, "212MB"),
        (3.42 * 1000**3, 4, "3.42GB"),
        (5.372 * 1000**4, 4, "5.372TB"),
        (2.22 * 1000**5, 4, "2.22PB"),
        (999_900, 3, "1e+03kB"),
        (1000**9, 4, "1000YB"),
    ],
)
def test_a_size_for_people(size: float, digits: int, expected: str) -> None:
    assert human_size(size, digits) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    # docker/go-units, duration_test.go.
    [
        (-5, "Less than a second"),
        (0.45, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "About a minute"),
        (100, "About a minute"),
        (3 * 60 + 40, "3 minutes"),
        (59 * 60 + 59, "59 minutes"),
        (_HOUR_S, "About an hour"),
        (_HOUR_S + 45 * 60, "2 hours"),
        (36 * _HOUR_S, "36 hours"),
        (48 * _HOUR_S, "2 days"),
        (13 * _DAY_S, "13 days"),
        (14 * _DAY_S, "2 weeks"),
        (59 * _DAY_S, "8 weeks"),
        (60 * _DAY_S, "2 months"),
        (729 * _DAY_S, "24 months"),
        (730 * _DAY_S, "2 years"),
        (1092 * _DAY_S, "2 years"),
    ],
)
def test_a_duration_for_people(seconds: float, expected: str) -> None:
    assert human_duration(int(seconds * _SECOND_NS)) == expected


@pytest.mark.parametrize(
    ("text", "expected_ns", "canonical"),
    [
        ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * _SECOND_NS, "2023-11-14T22:13:20Z"),
        ("2023-11-14T22:13:20.5+01:30", 1_699_994_600_500_000_000, "2023-11-14T20:43:20.5Z"),
        ("2023-11-14t22:13:20.123456789123z", 1_700_000_000_123_456_789, None),
        ("1969-12-31T23:59:59.9-00:30", 1799_900_000_000, None),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * _SECOND_NS, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time(text: str, expected_ns: int, canonical: str | None) -> None:
    assert parse_time(text) == expected_ns
    assert canonical in {None, rfc3339(expected_ns)}


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2023-11-14", "2023-13-14T00:00:00Z", "2023-11-14T25:00:00Z", "٢"]
)
def test_what_is_no_time(text: str) -> None:
    assert parse_time(text) is None


@given(st.text() | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d\Z"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = parse_time(text)

    assert found is None or is_dated(found) or found < 978_307_200 * _SECOND_NS


def test_a_time_as_go_prints_it() -> None:
    assert go_text(1_700_000_000_120_000_000) == "2023-11-14 22:13:20.12 +0000 UTC"


ALIGNED = {
    "no tabs": ("a\nb", "a\nb"),
    "at least ten wide": ("a\tb\n", "a         b\n"),
    "as wide as the widest and three": (
        "0123456789\tb\nc\td\n",
        "0123456789   b\nc            d\n",
    ),
    "the last cell is not padded": (
        "a\tb\tc\nd\te\tffff",
        "a         b         c\nd         e         ffff",
    ),
    # Cells that do not follow each other line by line are two columns.
    "a column ends where it is missing": (
        "a\tb\nlong text without a tab\n0123456789012\td\n",
        "a         b\nlong text without a tab\n0123456789012   d\n",
    ),
    "inner columns of some lines": (
        "a\tb\nc\t0123456789\td\n",
        "a         b\nc         0123456789   d\n",
    ),
    "empty cells": ("\t\tx\n", " " * 20 + "x\n"),
}


@pytest.mark.parametrize(("text", "expected"), ALIGNED.values(), ids=ALIGNED.keys())
def test_columns_are_as_wide_as_what_stands_in_them(text: str, expected: str) -> None:
    assert align(text) == expected
