"""`overlayfs-py stats`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from overlayfs_py.containers.processes import Use
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_HELP = """Show what containers use: all that run, or those that are named.

CPU is the share of one processor; memory is what the container's cgroup counts, or where it has
none that of its processes, what they share once.

\b
--format takes `json`, a Go template, or `table` before one. Fields:
  .Container .ID .Name .CPUPerc .MemUsage .MemPerc .NetIO .BlockIO .PIDs

\b
Examples:
  overlayfs-py stats --no-stream
  overlayfs-py stats --no-stream --format '{{.Name}}: {{.MemUsage}}' web
"""
_BETWEEN_S = 0.5  # samples of the processors' time
_HOME_AND_CLEAR = "\033[H\033[J"


@click.command("stats", help=_HELP)
@root_option
@click.option("--no-stream", is_flag=True, help="Once, instead of every second.")
@click.option("-a", "--all", "wants_all", is_flag=True, help="Those that do not run, too.")
@click.option("--no-trunc", is_flag=True, help="Print IDs in full.")
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.argument("containers", nargs=-1, type=CONTAINER)
def command(
    root: Path | None,
    containers: tuple[str, ...],
    form: str | None,
    *,
    no_stream: bool,
    wants_all: bool,
    no_trunc: bool,
) -> None:
    from overlayfs_py.containers import usage
    from overlayfs_py.image.tables import format_rows

    store = open_store(root)
    wanted = [container_of(store, name) for name in containers]
    form = usage.TABLE if form in {None, "table"} else form
    while True:
        known = wanted or store.containers.all()
        rows = list(_rows(store, known, named=bool(wanted) or wants_all, in_full=no_trunc))
        if not no_stream and sys.stdout.isatty():
            click.echo(_HOME_AND_CLEAR, nl=False)
        click.echo(format_rows(form or "", usage.COLUMNS, rows), nl=False)
        if no_stream:
            return
        time.sleep(_BETWEEN_S)


def _rows(
    store: Store, known: list[ContainerRecord], *, named: bool, in_full: bool
) -> Iterator[Mapping[str, str]]:
    from overlayfs_py.containers import cgroup, life, usage
    from overlayfs_py.containers.processes import Use, use_of

    firsts = {record.id: life.state_of(store, record).pid for record in known}
    own = {ident: cgroup.of(store.containers.directory(ident)) for ident in firsts}
    before: dict[str, Use] = {ident: use_of(pid) for ident, pid in firsts.items() if pid}
    then = time.monotonic()
    time.sleep(_BETWEEN_S)
    after = {ident: use_of(pid, own[ident]) for ident, pid in firsts.items() if pid}
    passed_s = time.monotonic() - then
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for record in known:
        if named or firsts[record.id]:
            use = after.get(record.id, Use())
            spent_s = use.cpu_s - before.get(record.id, Use()).cpu_s
            share = max(0.0, spent_s / passed_s)
            limit = record.memory_bytes or memory
            yield usage.row(record, use, share, limit, in_full=in_full)
