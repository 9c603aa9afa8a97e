"""The verifier's short form: `scripts/verify-coherence` is the long one."""

from __future__ import annotations

import pytest

from tests.coherence.verifier import MODES, verify

_SECONDS = 5
_OURS = [name for name in MODES if name != "kernel"]


@pytest.mark.parametrize("name", _OURS)
def test_all_views_of_a_file_agree(name: str) -> None:
    counts, complaints = verify(MODES[name], _SECONDS, seed=11)
    assert not complaints, "\n".join(complaints)
    assert counts["read_buffered"] > 0
    assert counts["write_async"] > 0
