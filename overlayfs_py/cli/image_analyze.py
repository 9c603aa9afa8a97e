"""`overlayfs-py image analyze`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.advice.image_findings import Advice
    from overlayfs_py.advice.image_report import ImageReport

_HELP = """Say what an image spends its bytes on, and what could be better.

For each layer: what its instruction added, and what of it a later layer deletes or replaces. Then
advice: caches left behind, the same content twice, secrets, loose modes; with layer, path, bytes
and what to write instead. WASTE is what following the advice saves, warnings and errors only.

Exit code: 1 if something is as bad as --fail-on says, or there is more waste than --max-waste.

\b
Examples:
  overlayfs-py image analyze app:1
  overlayfs-py image analyze --max-waste 5% --fail-on error app:1
  overlayfs-py image analyze --html report.html app:1
"""
_LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*(%|[kmgt]?b?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SEVERITIES = ("style", "info", "warning", "error")
_PATHS = 3
_WIDTH = 72


class _Limit(click.ParamType[tuple[float, bool]]):
    """An amount, and whether it is a part of the image, in percent; else it is bytes."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, bool]:
        found = _LIMIT.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is neither a percentage (5%) nor a size (20MB)", param, ctx)
        if found[2] == "%":
            return float(found[1]), True
        return float(found[1]) * _FACTORS[found[2].lower().removesuffix("b")], False


@click.command("analyze", help=_HELP)
@root_option
@click.option(
    "--max-waste", type=_Limit(), metavar="5%|20MB", help="More of it makes the exit code 1."
)
@click.option(
    "--fail-on",
    metavar="SEVERITY|RULE[,RULE]",
    default="never",
    show_default=True,
    help="Advice that makes the exit code 1: from info, warning or error on, or of these rules.",
)
@click.option("--skip", multiple=True, metavar="RULE", help="Do not apply this rule.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write a page, too.")
@click.option("--json", "is_json", is_flag=True, help="For programs: one object.")
@click.option("--list-rules", is_flag=True, help="Print all rules and exit.")
@click.argument("image", type=IMAGE, required=False)
def command(
    root: Path | None,
    image: str | None,
    max_waste: tuple[float, bool] | None,
    fail_on: str,
    skip: Sequence[str],
    html: Path | None,
    *,
    is_json: bool,
    list_rules: bool,
) -> int:
    from overlayfs_py.advice import image_report
    from overlayfs_py.advice.image_facts import ImageFacts

    if list_rules:
        for name, summary in image_report.RULES.items():
            click.echo(f"{name:20} {summary}")
        return 0
    if image is None:
        raise click.MissingParameter(param_hint="'IMAGE'", param_type="argument")
    _require_rules([*skip, *_rules_of(fail_on)])
    stored, layers = open_store(root, to_find=image).use_image(image)
    with layers, ImageFacts(stored.config, layers.layers) as facts:
        found = image_report.report(image, facts, skip)
    if html is not None:
        from overlayfs_py.advice.report_page import page
        from overlayfs_py.cli.outputs import output_file

        with output_file(html) as file:
            file.write(page(found).encode())
    if is_json:
        click.echo(json.dumps(image_report.as_json(found)))
    else:
        _print(found)
    is_bad = any(_is_bad(advice, fail_on) for advice in found.advice)
    return int(is_bad or _is_over(found, max_waste))


def _rules_of(fail_on: str) -> list[str]:
    return [] if fail_on in (*_SEVERITIES, "never") else fail_on.split(",")


def _require_rules(names: Sequence[str]) -> None:
    from overlayfs_py.advice.image_report import RULES
    from overlayfs_py.dockerfile.errors import did_you_mean

    for name in names:
        if name not in RULES:
            raise click.UsageError(f"no rule {name!r}{did_you_mean(name, list(RULES))}")


def _is_over(found: ImageReport, limit: tuple[float, bool] | None) -> bool:
    if limit is None:
        return False
    amount, in_percent = limit
    return (100 * found.wasted_share if in_percent else found.wasted_bytes) > amount


def _is_bad(advice: Advice, fail_on: str) -> bool:
    if fail_on in _SEVERITIES:
        return advice.severity.word in _SEVERITIES[_SEVERITIES.index(fail_on) :]
    return advice.rule in _rules_of(fail_on)


def _print(found: ImageReport) -> None:
    from overlayfs_py.image.units import human_size
    from overlayfs_py.terminal_text import for_terminal, shortened

    share = f"{100 * found.wasted_share:.1f} %"
    click.echo(
        f"{for_terminal(found.name)}: {human_size(found.bytes)} in {len(found.layers)} layers, "
        f"waste {human_size(found.wasted_bytes)} ({share})\n"
    )
    click.echo(f"{'LAYER':>5} {'SIZE':>9} {'FILES':>7} {'WASTE':>9}  INSTRUCTION")
    for layer in found.layers:
        click.echo(
            f"{layer.at:>5} {human_size(layer.bytes):>9} {layer.files:>7} "
            f"{human_size(layer.wasted_bytes):>9}  {shortened(layer.instruction, _WIDTH)}"
        )
    for advice in found.advice:
        saved = f", saves {human_size(advice.saved_bytes)}" if advice.saves else ""
        click.echo(
            f"\n{advice.severity.word}: {for_terminal(advice.message)}{saved} [{advice.rule}]"
        )
        for path in advice.paths[:_PATHS]:
            click.echo(f"    {for_terminal(b'/' + path)}")
        if len(advice.paths) > _PATHS:
            click.echo(f"    and {len(advice.paths) - _PATHS} more")
        if advice.rewrite:
            click.echo(f"  instead: {for_terminal(advice.rewrite)}")
