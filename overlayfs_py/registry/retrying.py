"""How long a registry is waited for, and when a request is tried again: one policy for all."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from overlayfs_py.errors import OverlayError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits on waiting. The numbers are those that podman and docker are known by, or below."""

    # For a connection, and for each handshake on it: TLS, SOCKS.
    connect_s: float = 15
    # For the next byte of an answer's body, for all of its header, for room for a piece of ours.
    silence_s: float = 30
    # For an answer to data: a registry may have gigabytes to check and to move first.
    storing_s: float = 300
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


class Tries:
    """The tries of one thing to do, wherever in it they fail."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failed = 0

    @property
    def is_last(self) -> bool:
        """Whether one more failure is the last one."""
        return self._failed + 1 >= self._policy.tries

    def begin_anew(self) -> None:
        """Forget the failures: something has been done since."""
        self._failed = 0

    async def wait_after(self, failure: OverlayError, least_s: float = 0) -> None:
        """Wait until the next try.

        Raises:
            OverlayError: `failure`, if no try is left.
        """
        if self.is_last:
            raise failure
        self._failed += 1
        delay_s = max(self._policy.delay_s(self._failed), least_s)
        log.info("%s: %s: next try in %.1f s", failure.filename, failure.strerror, delay_s)
        await trio.sleep(delay_s)


def parse_retry_after(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for; None where it makes no sense.

    Source: RFC 9110, 10.2.3: seconds, or an HTTP date.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a zone of years, for one
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
