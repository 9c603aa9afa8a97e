"""All rules over one Dockerfile, less what it asks not to be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.advice import (
    base_rules,
    command_rules,
    config_rules,
    copy_rules,
    layer_rules,
    order_rules,
    package_rules,
    secret_rules,
)
from overlayfs_py.advice.build_facts import BuildFacts
from overlayfs_py.advice.findings import Finding, Rule
from overlayfs_py.advice.view import View
from overlayfs_py.dockerfile.directives import read_check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.advice.context_facts import ContextFacts
    from overlayfs_py.dockerfile.ignore import IgnoreRules
    from overlayfs_py.dockerfile.instructions import Dockerfile, Instruction

RULES: tuple[Rule, ...] = (
    *package_rules.RULES,
    *layer_rules.RULES,
    *order_rules.RULES,
    *copy_rules.RULES,
    *secret_rules.RULES,
    *base_rules.RULES,
    *config_rules.RULES,
    *command_rules.RULES,
)
_ALL = "all"
_LONGEST_COMMENT = 1000
_IGNORING = re.compile(r"(?:hadolint|lint)\s+(global\s+)?ignore\s*=\s*([\w.,\s-]+?)(?:\s+#.*)?")
_CHECK = re.compile(r"check\s*=\s*(\S+).*")


def lint(
    dockerfile: Dockerfile,
    *,
    context: ContextFacts | None = None,
    ignore: IgnoreRules | None = None,
    builds: BuildFacts | None = None,
    skip: Iterable[str] = (),
) -> list[Finding]:
    """Return what there is to say of a Dockerfile, from its first line to its last.

    `skip` holds names of rules, ours or hadolint's codes. `# check=skip=NAME` as a directive, and
    `# check=skip=NAME` or `# hadolint ignore=CODE` above an instruction, skip rules too.
    """
    skipped = {name.lower() for name in (*skip, *dockerfile.directives.check.skip)}
    skipped |= _global_skips(dockerfile)
    if _ALL in skipped:
        return []
    local = list(_local_skips(dockerfile))
    view = View(dockerfile, context, ignore, builds or BuildFacts())
    findings = [
        Finding(rule, found)
        for rule in RULES
        if not rule.names & skipped
        for found in rule.check(view)
    ]
    return sorted(
        (each for each in findings if not _is_skipped(each, local)),
        key=lambda each: (each.found.position.line, each.found.position.column, each.rule.name),
    )


def find_rule(name: str) -> Rule | None:
    """Return the rule that a name or a code means."""
    return next((rule for rule in RULES if name.lower() in rule.names), None)


def _everything(dockerfile: Dockerfile) -> Iterator[Instruction]:
    yield from dockerfile.arguments
    for stage in dockerfile.stages:
        yield stage
        yield from stage.instructions


def _global_skips(dockerfile: Dockerfile) -> set[str]:
    found: set[str] = set()
    for instruction in _everything(dockerfile):
        for comment in instruction.comments:
            ignoring = _IGNORING.fullmatch(comment[:_LONGEST_COMMENT])
            if ignoring is not None and ignoring[1]:
                found |= _names(ignoring[2])
    return found


def _local_skips(dockerfile: Dockerfile) -> Iterator[tuple[range, set[str]]]:
    """The lines of instructions with comments that skip rules, and which."""
    for instruction in _everything(dockerfile):
        names: set[str] = set()
        for whole in instruction.comments:
            comment = whole[:_LONGEST_COMMENT]
            ignoring, check = _IGNORING.fullmatch(comment), _CHECK.fullmatch(comment)
            if ignoring is not None and not ignoring[1]:
                names |= _names(ignoring[2])
            if check is not None:
                names |= {name.lower() for name in read_check(check[1]).skip}
        if names:
            yield range(instruction.position.line, instruction.last_line + 1), names


def _names(text: str) -> set[str]:
    return {name for name in re.split(r"[,\s]+", text.lower()) if name}


def _is_skipped(finding: Finding, local: list[tuple[range, set[str]]]) -> bool:
    names = finding.rule.names | {_ALL}
    line = finding.found.position.line
    return any(line in lines and names & skipped for lines, skipped in local)
