"""Results as text that is also Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmarks.sides import KERNEL
from scripts.benchmarks.targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.benchmarks.results import Results, Summary

_SCALES = ((1.0, "s", 1.0), (1e-3, "ms", 1e3), (0.0, "us", 1e6))


def render(results: Results) -> str:
    """Return all tables: medians, targets, messages, failures."""
    parts = (
        ("Medians, and how many times kernel overlayfs they take", _medians(results)),
        ("Targets", _targets(results)),
        ("Daemon messages per operation, and its processor time", _messages(results)),
        ("Failures", _failures(results)),
    )
    return "\n".join(f"## {title}\n\n{text}" for title, text in parts if text)


def amount(value: float, unit: str) -> str:
    """Return a value with three digits and a unit that suits it."""
    if unit != "s":
        return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    _, name, factor = next(scale for scale in _SCALES if value >= scale[0])
    return (
        f"{value * factor:.3g} {name}" if value * factor < 1000 else f"{value * factor:.0f} {name}"
    )


def _medians(results: Results) -> str:
    rows = [
        [case, *(_cell(results, case, side) for side in results.sides)] for case in results.cases
    ]
    return _table(["case", *results.sides], rows)


def _cell(results: Results, case: str, side: str) -> str:
    summary = results.find(case, side)
    if summary is None:
        return "-"
    if summary.failure is not None:
        return "FAILED"
    ratio = results.ratio(case, side, KERNEL)
    shown = amount(summary.median, summary.unit)
    return shown if ratio is None or side == KERNEL else f"{shown} x{ratio:.2f}"


def _targets(results: Results) -> str:
    rows = [
        [
            verdict.case,
            verdict.side,
            verdict.reference,
            f"{verdict.allowed:g}",
            "-" if verdict.ratio is None else f"{verdict.ratio:.2f}",
            verdict.word,
        ]
        for verdict in verdicts(results)
    ]
    return _table(["case", "side", "of", "at most", "is", ""], rows) if rows else ""


def _messages(results: Results) -> str:
    rows = [
        [summary.case, summary.side, _cpu_per_operation(summary), _counts(summary)]
        for summary in results.summaries()
        if summary.messages is not None and summary.failure is None
    ]
    return _table(["case", "side", "CPU", "messages"], rows) if rows else ""


def _cpu_per_operation(summary: Summary) -> str:
    return amount((summary.daemon_cpu_s or 0) / summary.operations, "s")


def _counts(summary: Summary) -> str:
    shown = [f"{name} {count:.3g}" for name, count in (summary.messages or {}).items() if count]
    return ", ".join(shown) or "none"


def _failures(results: Results) -> str:
    lines = [
        f"- {summary.case}, {summary.side}: {_ends_of(summary.failure)}\n"
        for summary in results.summaries()
        if summary.failure is not None
    ]
    return "".join(lines)


def _ends_of(text: str) -> str:
    """Return what failed and, at the end of a traceback, why; results.json has it all."""
    lines = text.strip().splitlines() or ["no reason given"]
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1].strip()}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)
