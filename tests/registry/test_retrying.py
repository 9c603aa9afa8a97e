from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trio

from overlayfs_py.registry.errors import Unavailable
from overlayfs_py.registry.retrying import RetryPolicy, Tries, parse_retry_after

ZONE = "Wed, 21 Oct 2015 07:28:00 +99999999999999999999"
NONSENSE = ("", "soon", "-1", "1.5", "9" * 40, "Thu, 99 Foo 2026", ZONE)


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_delay_s=1, longest_delay_s=4)

    for tries_done, longest in ((1, 1), (2, 2), (3, 4), (4, 4), (50, 4)):
        assert longest / 2 <= policy.delay_s(tries_done) <= longest


def test_retry_after_is_seconds_or_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert parse_retry_after(" 120 ") == 120
    assert 50 < (parse_retry_after(in_a_minute) or 0) <= 60
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("text", NONSENSE)
def test_a_retry_after_that_makes_no_sense_is_none(text: str) -> None:
    assert parse_retry_after(text) is None


@pytest.mark.trio
async def test_tries_end_with_the_last_failure() -> None:
    tries, slept = Tries(RetryPolicy(tries=3, first_delay_s=0)), 0

    for _ in range(2):
        assert not tries.is_last
        await tries.wait_after(Unavailable("it", "once more"))
        slept += 1
    assert tries.is_last
    with pytest.raises(Unavailable, match="the end"):
        await tries.wait_after(Unavailable("it", "the end"))
    tries.begin_anew()
    assert not tries.is_last
    assert slept == 2


@pytest.mark.trio
async def test_what_is_asked_for_is_waited_at_least(autojump_clock: object) -> None:
    start = trio.current_time()

    await Tries(RetryPolicy(first_delay_s=1)).wait_after(Unavailable("it", "busy"), least_s=7)

    assert trio.current_time() - start == 7
