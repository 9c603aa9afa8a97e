from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from overlayfs_py.registry.patience import Patience, parse_retry_after

NONSENSE = ("", "soon", "-1", "1.5", "9" * 40, "Thu, 99 Foo 2026")


def test_delays_double_up_to_the_longest() -> None:
    patience = Patience(first_delay_s=1, longest_delay_s=4)

    for tries_done, longest in ((1, 1), (2, 2), (3, 4), (4, 4), (50, 4)):
        assert longest / 2 <= patience.delay_s(tries_done) <= longest


def test_retry_after_is_seconds_or_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert parse_retry_after(" 120 ") == 120
    assert 50 < (parse_retry_after(in_a_minute) or 0) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("text", NONSENSE)
def test_a_retry_after_that_makes_no_sense_is_none(text: str) -> None:
    assert parse_retry_after(text) is None
