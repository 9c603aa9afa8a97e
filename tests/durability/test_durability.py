"""The verifier's short form: `scripts/verify-durability` is the long one."""

from __future__ import annotations

import pytest

from tests.durability.verifier import verify


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_kills_and_power_cuts_leave_what_was_synced(driver: str) -> None:
    counts, complaints = verify(driver, kills=3, cuts=3, seed=11)

    assert not complaints, "\n".join(complaints)
    assert (counts["kills"], counts["cuts"]) == (3, 3)
    assert counts["on disk"] > 0
