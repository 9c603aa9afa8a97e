"""What was measured, summed up: medians and their ratios, to be shown or kept as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.benchmarks.session import Failure, Sample

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Summary:
    """All samples of one case on one side. Without samples, or with a failure, it has failed."""

    case: str
    side: str
    unit: str
    values: tuple[float, ...]  # sorted
    operations: int
    daemon_cpu_s: float | None
    messages: Mapping[str, float] | None  # per operation
    failure: str | None

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def p90(self) -> float:
        """The value that nine of ten do not exceed."""
        return self.values[-(-len(self.values) * 9 // 10) - 1]

    def as_json(self) -> Json:
        """Return what a program would want to know."""
        known: Json = {"case": self.case, "side": self.side, "n": len(self.values)}
        if self.failure is not None:
            return known | {"failed": self.failure}
        known |= {"unit": self.unit, "median": self.median, "min": self.values[0], "p90": self.p90}
        known |= {"values": self.values, "operations": self.operations}
        if self.daemon_cpu_s is not None:
            known["daemon_cpu_s"] = self.daemon_cpu_s
        if self.messages is not None:
            known["messages_per_operation"] = self.messages
        return known


class Results:
    """The summaries of a run."""

    def __init__(self, cases: Sequence[str], sides: Sequence[str]) -> None:
        """Expect these, in this order."""
        self.cases = cases
        self.sides = sides
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def add(self, side: str, samples: Iterable[Sample], failures: Iterable[Failure]) -> None:
        """Take in what one session found."""
        for sample in samples:
            self._samples.setdefault((sample.case, side), []).append(sample)
        for failure in failures:
            self._failures.setdefault((failure.case, side), failure.reason)

    def find(self, case: str, side: str) -> Summary | None:
        """Return a case on a side; None where it was not tried."""
        samples = self._samples.get((case, side), [])
        failure = self._failures.get((case, side))
        if not samples and failure is None:
            return None
        return _summed_up(case, side, samples, failure)

    def ratio(self, case: str, side: str, reference: str) -> float | None:
        """Return how many times the reference's median a side takes; None where one is missing."""
        ours, theirs = self.find(case, side), self.find(case, reference)
        if ours is None or theirs is None or ours.failure or theirs.failure or not theirs.median:
            return None
        return ours.median / theirs.median

    def summaries(self) -> list[Summary]:
        """Return everything that was tried."""
        found = (self.find(case, side) for case in self.cases for side in self.sides)
        return [summary for summary in found if summary is not None]


def _summed_up(case: str, side: str, samples: list[Sample], failure: str | None) -> Summary:
    if not samples:
        return Summary(case, side, "", (), 0, None, None, failure)
    used = [sample.daemon_cpu_s for sample in samples if sample.daemon_cpu_s is not None]
    return Summary(
        case,
        side,
        samples[0].unit,
        tuple(sorted(sample.value for sample in samples)),
        samples[0].operations,
        statistics.median(used) if used else None,
        _messages_per_operation(samples),
        failure,
    )


def _messages_per_operation(samples: list[Sample]) -> dict[str, float] | None:
    counted = [sample for sample in samples if sample.messages is not None]
    if not counted:
        return None
    total: Counter[str] = Counter()
    for sample in counted:
        total += sample.messages or Counter()
    operations = sum(sample.operations for sample in counted)
    return {opcode: round(count / operations, 4) for opcode, count in total.most_common()}
