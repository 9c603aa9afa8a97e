"""`overlayfs-py doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.temporary import temporary_directory
from overlayfs_py.containers import machine

if TYPE_CHECKING:
    from overlayfs_py.containers.finding import Finding

_HELP = """Say what this machine offers, and what to install.

Ends with 0 if some way of mounting works, with 1 if none does.

\b
Examples:
  overlayfs-py doctor
  overlayfs-py doctor --json
"""
_YES = "Mounting works."
_NO = "Mounting does not work yet."


@click.command("doctor", help=_HELP)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(*, as_json: bool) -> int:
    findings = machine.examine(temporary_directory())
    works = machine.can_mount(findings)
    click.echo(_as_json(findings, works=works) if as_json else _as_text(findings, works=works))
    return 0 if works else 1


def _as_text(findings: list[Finding], *, works: bool) -> str:
    lines = [_YES if works else _NO, ""]
    for finding in findings:
        lines.append(f"{finding.state.value:8} {finding.words}")
        if finding.advice:
            lines.append(f"{'':8} -> {finding.advice}")
    return "\n".join(lines)


def _as_json(findings: list[Finding], *, works: bool) -> str:
    found = {
        finding.subject: {
            "state": finding.state.value,
            "words": finding.words,
            "advice": finding.advice or None,
        }
        for finding in findings
    }
    return json.dumps({"works": works, "findings": found}, indent=2)
