from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.registry.challenges import Challenge, parse_challenges

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/debian:pull,push"'
)
CASES = {
    "one word": ("Negotiate", [Challenge("negotiate")]),
    "a token": ("NTLM TlRMTVNT==", [Challenge("ntlm")]),
    "basic": ('Basic realm="basic-realm"', [Challenge("basic", {"realm": "basic-realm"})]),
    "commas inside quotes": (
        HUB,
        [
            Challenge(
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:library/debian:pull,push",
                },
            )
        ],
    ),
    "two in one header": (
        'Negotiate, Basic realm="a, b" , charset=UTF-8, bearer REALM=x',
        [
            Challenge("negotiate"),
            Challenge("basic", {"realm": "a, b", "charset": "UTF-8"}),
            Challenge("bearer", {"realm": "x"}),
        ],
    ),
    "a token before another scheme": (
        'NTLM abc=, Basic realm="x"',
        [Challenge("ntlm"), Challenge("basic", {"realm": "x"})],
    ),
    "spaces around =": ('Basic realm = "x"', [Challenge("basic", {"realm": "x"})]),
    "an escaped quote": (r'Basic realm="a\"b\\"', [Challenge("basic", {"realm": 'a"b\\'})]),
    "empty elements": (', ,Basic realm="x",,', [Challenge("basic", {"realm": "x"})]),
    "the first of a name": ("Basic realm=a,realm=b", [Challenge("basic", {"realm": "a"})]),
    "nothing": ("", []),
    "nonsense": ("=;=", []),
    "an open quote": ('Basic realm="x', [Challenge("basic")]),
}


@pytest.mark.parametrize(("header", "challenges"), CASES.values(), ids=CASES.keys())
def test_challenges_are_read_by_their_grammar(header, challenges) -> None:
    assert parse_challenges([header]) == challenges


def test_several_headers_count_together() -> None:
    assert [c.scheme for c in parse_challenges(["Basic realm=a", "Bearer realm=b"])] == [
        "basic",
        "bearer",
    ]


@given(st.text(alphabet='Bearlm =,"\\\t-x', max_size=200))
def test_any_header_is_read_in_one_pass(header: str) -> None:
    challenges = parse_challenges([header])

    assert len(challenges) <= len(header)
    assert all(challenge.scheme for challenge in challenges)
