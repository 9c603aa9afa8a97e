"""How long to wait for a registry, and how often to ask again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits on waiting. The numbers are those that podman and docker are known by, or below."""

    connect_s: float = 15
    # Between two pieces of an answer, or until the first one.
    silence_s: float = 30
    # For a whole answer that is no blob: those are small.
    whole_answer_s: float = 90
    # A body that trickles is given up when this much has not come within `silence_s`.
    slowest_bytes: int = 4096
    tries: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 10
    # A registry that wants more time than this (Docker Hub's rate limit wants hours) is an error.
    longest_retry_after_s: float = 60

    def delay_s(self, tries_done: int) -> float:
        """How long to wait after the n-th failure: doubling, at random so that clients part."""
        longest: float = min(self.first_delay_s * 2 ** (tries_done - 1), self.longest_delay_s)
        return longest * random.uniform(0.5, 1)


def parse_retry_after(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for; None where it makes no sense.

    Source: RFC 9110, 10.2.3: seconds, or an HTTP date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
