"""`overlayfs-py top`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """List the processes of a container, as ps(1) of this machine shows them.

Pids are this machine's. Options are ps's, `-ef` without any; they have to show the column PID.

With --requests: which processes ask the daemon of a container's filesystem, or of a mount, and for
what. Nothing is counted before it is asked for. On a terminal it goes on until ^C. What the kernel
has cached reaches no daemon, and does not show. Not with the driver pyfuse3.

\b
Examples:
  overlayfs-py top web
  overlayfs-py top web -o pid,rss,args
  overlayfs-py top --requests web
  overlayfs-py top --requests --interval 10 --json ./mnt
"""


@click.command(
    "top",
    help=_HELP,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@root_option
@click.option("--requests", is_flag=True, help="Count requests to its filesystem by process.")
@click.option(
    "--interval",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    metavar="SECONDS",
    help="How long to count.  [default: 1]",
)
@click.option("--json", "as_json", is_flag=True, help="With --requests: once, as JSON.")
@click.argument("container", metavar="CONTAINER|MNT", type=CONTAINER)
@click.argument("options", metavar="[PS OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def command(
    root: Path | None,
    container: str,
    options: tuple[str, ...],
    interval: float,
    *,
    requests: bool,
    as_json: bool,
) -> None:
    if requests:
        if options:
            raise Failure(f"--requests takes no options of ps: {options[0]}")
        _show_requests(root, container, interval, as_json=as_json)
    elif as_json:
        raise Failure("--json goes with --requests")
    else:
        _show_processes(root, container, options)


def _show_requests(root: Path | None, name: str, interval: float, *, as_json: bool) -> None:
    from overlayfs_py.cli.request_top import show
    from overlayfs_py.mounts import inquiring

    if "/" in name:
        sock = inquiring.connect_to_mount(os.fsencode(name))
    else:
        store = open_store(root)
        record = container_of(store, name)
        sock = inquiring.connect_to_container(store.containers.directory(record.id), record.name)
    show(sock, interval, as_json=as_json)


def _show_processes(root: Path | None, container: str, options: tuple[str, ...]) -> None:
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
