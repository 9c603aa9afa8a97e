"""What `lint` prints: for people, as rows, as SARIF."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from overlayfs_py import __version__
from overlayfs_py.advice.findings import Severity
from overlayfs_py.advice.linting import RULES
from overlayfs_py.image.tables import Columns, format_rows
from overlayfs_py.image.units import human_size
from overlayfs_py.terminal_text import for_terminal, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.advice.findings import Finding

_COLUMNS = Columns(
    "lint.finding",
    {
        "File": "FILE",
        "Line": "LINE",
        "Column": "COLUMN",
        "LastLine": "LAST LINE",
        "Severity": "SEVERITY",
        "Rule": "RULE",
        "Codes": "CODES",
        "Message": "MESSAGE",
        "Cost": "COST",
        "Bytes": "BYTES",
        "Seconds": "SECONDS",
        "Rewrite": "REWRITE",
    },
)
_TABLE = r"table {{.Line}}\t{{.Severity}}\t{{.Rule}}\t{{.Message}}"
_RULE_COLUMNS = Columns(
    "lint.rule", {"Rule": "RULE", "Severity": "SEVERITY", "Codes": "CODES", "Finds": "FINDS"}
)
_RULE_TABLE = r"table {{.Rule}}\t{{.Severity}}\t{{.Codes}}\t{{.Finds}}"
_SARIF = "sarif"
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SARIF_LEVELS = {
    Severity.STYLE: "note",
    Severity.INFO: "note",
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
}
_WIDEST_REWRITE = 2000


def rules() -> str:
    """Return the list of all rules."""
    rows = [
        {
            "Rule": rule.name,
            "Severity": rule.severity.word,
            "Codes": " ".join(rule.also),
            "Finds": rule.summary,
        }
        for rule in sorted(RULES, key=lambda rule: rule.name)
    ]
    return format_rows(_RULE_TABLE, _RULE_COLUMNS, rows)


def shown(findings: Sequence[Finding], name: str, text: bytes, form: str | None) -> str:
    """Return findings in the form asked for; None is for people."""
    if form is None:
        return _for_people(findings, name, text)
    if form == _SARIF:
        return json.dumps(_sarif(findings), indent=2) + "\n"
    form = _TABLE if form == "table" else form
    return format_rows(form, _COLUMNS, [_row(finding) for finding in findings])


def _row(finding: Finding) -> dict[str, str]:
    found = finding.found
    return {
        "File": found.position.file,
        "Line": str(found.position.line),
        "Column": str(found.position.column),
        "LastLine": str(max(found.last_line, found.position.line)),
        "Severity": finding.rule.severity.word,
        "Rule": finding.rule.name,
        "Codes": " ".join(finding.rule.also),
        "Message": for_terminal(found.message),
        "Cost": for_terminal(found.cost),
        "Bytes": "" if found.bytes is None else str(found.bytes),
        "Seconds": "" if found.seconds is None else f"{found.seconds:.1f}",
        "Rewrite": found.rewrite,
    }


def _for_people(findings: Sequence[Finding], name: str, text: bytes) -> str:
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    parts = [_block(finding, lines) for finding in findings]
    counts = [
        f"{count} {severity.word}"
        for severity in reversed(Severity)
        if (count := sum(finding.rule.severity == severity for finding in findings))
    ]
    return "\n".join([*parts, f"{for_terminal(name)}: {', '.join(counts) or 'nothing to say'}\n"])


def _block(finding: Finding, lines: Sequence[str]) -> str:
    found, rule = finding.found, finding.rule
    codes = f" ({', '.join(rule.also)})" if len(rule.also) == 1 else ""
    known = [] if found.bytes is None else [human_size(found.bytes, 3)]
    known += [] if found.seconds is None else [f"{found.seconds:.1f} s"]
    size = f"{', '.join(known)}: " if known else ""
    block = [
        f"{for_terminal(str(found.position))}: {rule.severity.word}: "
        f"{for_terminal(found.message)}  [{rule.name}{codes}]",
        f"    {shortened(lines[found.position.line - 1].strip(), 160)}",
    ]
    if found.cost or size:
        block.append(f"  costs {size}{for_terminal(found.cost)}")
    if found.rewrite:
        first, *others = found.rewrite[:_WIDEST_REWRITE].split("\n")
        block.append(f"  write {for_terminal(first)}")
        block += [f"        {for_terminal(line)}" for line in others]
    return "\n".join(block) + "\n"


def _sarif(findings: Sequence[Finding]) -> dict[str, object]:
    driver = {
        "name": "overlayfs-py",
        "version": __version__,
        "rules": [
            {
                "id": rule.name,
                "shortDescription": {"text": rule.summary},
                "defaultConfiguration": {"level": _SARIF_LEVELS[rule.severity]},
                "properties": {"tags": list(rule.also)},
            }
            for rule in RULES
        ],
    }
    numbers = {rule.name: number for number, rule in enumerate(RULES)}
    results = [_sarif_result(finding, numbers[finding.rule.name]) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(finding: Finding, number: int) -> dict[str, object]:
    found = finding.found
    parts = [found.message, found.cost and f"Costs: {found.cost}.", found.rewrite]
    region = {
        "startLine": found.position.line,
        "startColumn": found.position.column,
        "endLine": max(found.last_line, found.position.line),
    }
    location = {
        "artifactLocation": {"uri": found.position.file},
        "region": region,
    }
    return {
        "ruleId": finding.rule.name,
        "ruleIndex": number,
        "level": _SARIF_LEVELS[finding.rule.severity],
        "message": {"text": "\n".join(filter(None, parts))},
        "locations": [{"physicalLocation": location}],
    }
