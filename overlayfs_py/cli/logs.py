"""`overlayfs-py logs`."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from overlayfs_py.containers.output_log import Entry
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store

_HELP = """Show what a container wrote, to stdout and stderr as it did.

\b
Examples:
  overlayfs-py logs --tail 20 -f web
  overlayfs-py logs --since 10m -t web
"""
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})(?:\.\d+)?s)?")
_FDS = {"stdout": 1, "stderr": 2}


@click.command("logs", help=_HELP)
@root_option
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("-n", "--tail", default="all", show_default=True, metavar="N", help="The last lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--details", is_flag=True, help="Accepted for docker: each line begins with a space.")
@click.option("--since", metavar="TIME", help="A time, seconds since 1970, or how long ago: 10m.")
@click.option("--until", metavar="TIME", help="Likewise.")
@click.argument("container", type=CONTAINER)
def command(
    root: Path | None,
    container: str,
    tail: str,
    since: str | None,
    until: str | None,
    *,
    follow: bool,
    timestamps: bool,
    details: bool,
) -> None:
    from overlayfs_py.containers import output_log

    store = open_store(root)
    record = store.containers.get(container)
    if record.log_driver == output_log.NONE:
        raise Failure(f"{record.name}: its output is not kept (--log-driver none)")
    first = _time("--since", since) if since else 0
    last = _time("--until", until) if until else None
    for entry in _entries(store, record, tail, follow=follow):
        if entry.time_ns >= first and (last is None or entry.time_ns <= last):
            head = f"{entry.time} ".encode() if timestamps else b""
            # Docker's attributes of a line come from --log-opt, which is not offered.
            _write(_FDS.get(entry.stream, 1), head + (b" " if details else b"") + entry.text)


def _entries(store: Store, record: ContainerRecord, tail: str, *, follow: bool) -> Iterator[Entry]:
    from overlayfs_py.containers import output_log

    path = store.containers.directory(record.id) / output_log.FILE
    if not tail.isdigit():
        tail = ""  # docker: everything that is no number means all
    start = path.stat().st_size if path.exists() else 0
    shown: Iterable[Entry] = output_log.last(path, int(tail)) if tail else output_log.read(path)
    if not follow:
        yield from shown
        return
    if tail:
        yield from shown
    path.touch()
    yield from output_log.follow(
        path, lambda: not store.containers.is_running(record), start=start if tail else 0
    )


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _time(option: str, text: str) -> int:
    """Return nanoseconds since 1970."""
    from overlayfs_py.containers.output_log import parse_time

    ago = _DURATION.fullmatch(text)
    if ago is not None and any(ago.groups()):
        hours, minutes, seconds = (int(part or 0) for part in ago.groups())
        return time.time_ns() - ((hours * 60 + minutes) * 60 + seconds) * 10**9
    try:
        return int(float(text) * 10**9)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        raise OptionError(option, f"{text}: neither a time nor how long ago") from None
