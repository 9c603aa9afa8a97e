"""`overlayfs-py lint`: advice on a Dockerfile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import root_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.advice.findings import Finding
    from overlayfs_py.dockerfile.instructions import Dockerfile

_HELP = """Say what a Dockerfile could do better: line, reason, cost, and what to write instead.

Without an argument it is ./Dockerfile; `-` is stdin. Where there is a context, its directory, sizes
of what COPY takes are looked up there, and DOCKERFILE.dockerignore or .dockerignore counts. What
`build` has built before tells seconds and sizes.

\b
A rule is skipped by
  # check=skip=RULE[,RULE]         at the top, for the file
  # check=skip=RULE                above an instruction, for it
  # hadolint ignore=CODE           likewise; `global ignore` for the file
  --skip RULE
where RULE is a name or hadolint's code for it; --list-rules prints them all.

\b
--format takes `json` (an object per line), `sarif`, a Go template, or `table` before one. Fields:
  .File .Line .Column .LastLine .Severity .Rule .Codes .Message .Cost .Bytes .Seconds
  .Rewrite

Exit code: 1 if something is as bad as --fail-on says, or the Dockerfile cannot be read.

\b
Examples:
  overlayfs-py lint
  overlayfs-py lint --fail-on error --skip UnpinnedPackage docker/Dockerfile
  overlayfs-py lint --format sarif > lint.sarif
"""
_STDIN = "-"
_NEVER = "never"
_SEVERITIES = ("style", "info", "warning", "error")


@click.command("lint", help=_HELP)
@click.argument("dockerfile", default="Dockerfile")
@root_option
@click.option(
    "--context", metavar="DIR", help="Where COPY takes files from.  [default: its directory]"
)
@click.option(
    "--skip", multiple=True, metavar="RULE", help="Do not apply this rule; several times."
)
@click.option(
    "--fail-on",
    type=click.Choice([*_SEVERITIES, _NEVER]),
    default="warning",
    show_default=True,
    help="From which severity on the exit code is 1.",
)
@click.option("--format", "form", help="json, sarif, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--list-rules", is_flag=True, help="Print all rules and exit.")
def command(
    dockerfile: str,
    root: Path | None,
    context: str | None,
    skip: Sequence[str],
    fail_on: str,
    form: str | None,
    *,
    as_json: bool,
    list_rules: bool,
) -> int:
    from overlayfs_py.cli import lint_output

    if list_rules:
        click.echo(lint_output.rules(), nl=False)
        return 0
    _require_rules(skip)
    form = "json" if as_json else form
    findings, name, text = _findings(dockerfile, context, skip, root)
    click.echo(lint_output.shown(findings, name, text, form), nl=False)
    bad = any(finding.rule.severity.word in _from(fail_on) for finding in findings)
    return int(bad)


def _from(severity: str) -> tuple[str, ...]:
    return () if severity == _NEVER else _SEVERITIES[_SEVERITIES.index(severity) :]


def _require_rules(names: Sequence[str]) -> None:
    from overlayfs_py.advice.linting import RULES, find_rule
    from overlayfs_py.dockerfile.errors import did_you_mean

    for name in names:
        if find_rule(name) is None:
            hint = did_you_mean(name, [rule.name for rule in RULES])
            raise click.BadParameter(f"no rule {name!r}{hint}", param_hint="--skip")


def _findings(
    dockerfile: str, context: str | None, skip: Sequence[str], root: Path | None
) -> tuple[list[Finding], str, bytes]:
    from overlayfs_py.advice.linting import lint
    from overlayfs_py.cli.built_steps import built_steps
    from overlayfs_py.cli.context_sizes import context_facts, read_ignore
    from overlayfs_py.dockerfile.parsing import parse

    name = "stdin" if dockerfile == _STDIN else dockerfile
    text = _text(dockerfile)
    parsed: Dockerfile = parse(text, name)
    if context is None and dockerfile != _STDIN:
        context = str(Path(dockerfile).parent)
    rules = None if context is None else read_ignore(context, Path(dockerfile))
    facts = None if context is None else context_facts(context, rules)
    builds = built_steps(root)
    return lint(parsed, context=facts, ignore=rules, builds=builds, skip=skip), name, text


def _text(dockerfile: str) -> bytes:
    from overlayfs_py.dockerfile.lines import LARGEST_BYTES

    if dockerfile == _STDIN:
        return sys.stdin.buffer.read(LARGEST_BYTES + 1)
    with open(dockerfile, "rb") as file:
        return file.read(LARGEST_BYTES + 1)
