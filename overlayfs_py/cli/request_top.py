"""What `top --requests` shows: which processes ask a filesystem's daemon, and for what."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict

import click

from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

_HOME_AND_CLEAR = "\033[H\033[J"


class _Process(TypedDict):
    pid: int
    name: str
    requests: dict[str, int]


def show(sock: socket.socket, seconds: float, *, as_json: bool) -> None:
    """Show requests by process: on a terminal until ^C, elsewhere once."""
    from overlayfs_py.mounts import inquiring

    answers = inquiring.ask(sock, {"ask": "requests", "seconds": seconds})
    if as_json:
        click.echo(json.dumps(next(_tables(answers), [])))
    elif not sys.stdout.isatty():
        _print(next(_tables(answers), []))
    else:
        with suppress(KeyboardInterrupt):
            for processes in _tables(answers):
                click.echo(_HOME_AND_CLEAR, nl=False)
                _print(processes, lines=os.get_terminal_size().lines - 2)


def _tables(answers: Iterable[bytes]) -> Iterator[list[_Process]]:
    for line in answers:
        yield json.loads(line)["processes"]


def _print(processes: list[_Process], lines: int | None = None) -> None:
    click.echo(f"{'PID':>8} {'COMMAND':<16} {'TOTAL':>8} REQUESTS")
    for process in processes[:lines]:
        counts = process["requests"]
        pid = str(process["pid"] or "-")
        name = for_terminal(process["name"]) or "(kernel)"
        kinds = " ".join(f"{kind}:{count}" for kind, count in counts.items())
        click.echo(f"{pid:>8} {name:<16} {sum(counts.values()):>8} {kinds}")
