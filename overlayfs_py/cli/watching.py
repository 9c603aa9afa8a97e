"""What a pull or push shows: bars on a terminal, docker's lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Protocol

import click

from overlayfs_py.transfer.watch import LayerState, Unwatched, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress, TaskID


class Shown(Watch, AbstractContextManager["Shown"], Protocol):
    """A watch that shows until its `with` block ends."""


def watching(*, quiet: bool, as_json: bool) -> Shown:
    """Return what suits the output."""
    if as_json:
        return JsonLines()
    if quiet:
        return Nothing()
    return Bars() if sys.stdout.isatty() else Lines()


def progress_on_stderr() -> Shown:
    """Return what shows on stderr, of a command whose output is something else."""
    return Percentages()


class Nothing(Unwatched):
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        pass


class Lines(Nothing):
    """Each state of each layer as a line; how far it is shows nowhere, as docker has it."""

    def say(self, line: str) -> None:
        click.echo(line)

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        click.echo(_line(ident, state, detail))


class Percentages(Nothing):
    """A line on stderr for each layer, and on a terminal for each percent of it."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def progress(self, ident: str, state: LayerState, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        is_first = ident not in self._last
        if percent != self._last.get(ident) and (is_first or sys.stderr.isatty()):
            self._last[ident] = percent
            end = "\r" if sys.stderr.isatty() and percent < 100 else "\n"
            words = f"{ident}: {state.value} what has not come yet"
            click.echo(f"{words} ({percent} %){end}", err=True, nl=False)


class JsonLines(Nothing):
    """One object per line."""

    def say(self, line: str) -> None:
        _print({"message": line})

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        _print({"id": ident, "status": state.value} | ({"detail": detail} if detail else {}))

    def progress(self, ident: str, state: LayerState, done: int, total: int) -> None:
        _print({"id": ident, "status": state.value, "current": done, "total": total})


class Bars(Nothing):
    """A line per layer, with a bar while it moves."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        self._progress = self._open.enter_context(
            Progress(
                TextColumn("{task.fields[ident]}:"),
                TextColumn("{task.description}"),
                BarColumn(bar_width=50),
                DownloadColumn(),
                SpeedColumn(),
            )
        )
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self._open.close()

    def say(self, line: str) -> None:
        assert self._progress is not None
        self._progress.console.print(line, markup=False, highlight=False)

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        words = f"{state.value} {detail}".strip()
        self._at(ident).update(self._task(ident), description=words)

    def progress(self, ident: str, state: LayerState, done: int, total: int) -> None:
        self._at(ident).update(
            self._task(ident), description=state.value, completed=done, total=total
        )

    def _at(self, ident: str) -> Progress:
        assert self._progress is not None
        if ident not in self._tasks:
            self._tasks[ident] = self._progress.add_task("", total=None, ident=ident)
        return self._progress

    def _task(self, ident: str) -> TaskID:
        return self._tasks[ident]


def _line(ident: str, state: LayerState, detail: str) -> str:
    return f"{ident}: {state.value} {detail}".rstrip()


def _print(fields: Mapping[str, str | int]) -> None:
    click.echo(json.dumps(fields))
