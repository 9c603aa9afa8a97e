"""One answer to the question what a machine offers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How good a finding is."""

    GOOD = "ok"
    LIMITED = "limited"  # works without, with less
    BAD = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer; one that is not good comes with advice."""

    subject: str  # in JSON too: does not change
    state: State
    words: str
    advice: str = ""  # what to do about it; empty where there is nothing to do
