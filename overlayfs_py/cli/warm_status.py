"""`overlayfs-py warm status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli import warm_place, warm_process
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

_HELP = """Say whether the process is there, what it has run, and what it has not taken, and why.

Ends with 0 if it is there, with 1 if not.

\b
Examples:
  overlayfs-py warm status
  overlayfs-py warm status --json
"""


@click.command("status", help=_HELP)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(*, as_json: bool) -> int:
    path = warm_place.socket_path()
    found = None if path is None else warm_process.status(path)
    if as_json:
        click.echo(json.dumps({"running": False} if found is None else _for_programs(found)))
    else:
        click.echo("There is none." if found is None else _as_text(found))
    return 1 if found is None else 0


def _for_programs(found: Mapping[str, object]) -> dict[str, object]:
    return {**found, "running": True, "commands_running": found["running"]}


def _as_text(found: Mapping[str, object]) -> str:
    lines = [
        f"Process {found['pid']} is there for {found['age']} s; without commands it ends after"
        f" {found['idle']:g} s.",
        f"Commands: {found['commands']}, of which {found['running']} run.",
    ]
    refused = found["refused"]
    assert isinstance(refused, dict)
    lines += [f"Not taken: {count}, for {for_terminal(why)}" for why, count in refused.items()]
    return "\n".join(lines)
