"""`overlayfs-py top`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """List the processes of a container, as ps(1) of this machine shows them.

Pids are this machine's. Options are ps's, `-ef` without any; they have to show the column PID.

\b
Examples:
  overlayfs-py top web
  overlayfs-py top web -o pid,rss,args
"""


@click.command(
    "top",
    help=_HELP,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("options", metavar="[PS OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def command(root: Path | None, container: str, options: tuple[str, ...]) -> None:
    import subprocess

    from overlayfs_py.containers import life, processes

    store = open_store(root)
    record = container_of(store, container)
    inside = {str(pid) for pid in processes.inside(life.first_process(store, record))}
    words = ["ps", *(options or ("-ef",))]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failure("ps: not installed (Debian: procps)") from None
    if done.returncode:
        raise Failure(f"ps: {done.stderr.strip().splitlines()[0] if done.stderr else 'failed'}")
    head, *rows = done.stdout.splitlines()
    if "PID" not in head.split():
        raise Failure("ps: its options have to show the column PID")
    column = head.split().index("PID")
    for row in [head, *(row for row in rows if _word(row, column) in inside)]:
        click.echo(row)


def _word(row: str, column: int) -> str:
    words = row.split()
    return words[column] if column < len(words) else ""
