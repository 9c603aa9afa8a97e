"""What a build shows on a terminal: steps that have ended, and below them those that run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from overlayfs_py.builds.events import (
    BegunAnew,
    CacheMoved,
    Notice,
    Output,
    StepBegun,
    StepCached,
    StepDone,
)
from overlayfs_py.cli.build_progress import Steps, moved_text
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from overlayfs_py.builds.events import Event
    from overlayfs_py.cli.build_progress import RunningStep

_LINES_SHOWN = 5  # of each command that runs
_SHOWN_AGAIN_S = 0.1


class TerminalProgress:
    """Steps that run stand at the bottom with their seconds and last lines."""

    def __init__(self, *, explain: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._explain = explain
        self._steps = Steps()
        # Not by a thread: a build forks.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._shown = 0.0

    def tell(self, event: Event) -> None:
        match event:
            case StepCached(name, parts, source):
                told = f" (in {source})" if source else ""
                self._print(f"{'CACHED' if name.number > 1 else '':>7} {name}{told}", "cyan")
                self._parts(parts)
            case StepBegun(name, why, _, parts):
                self._steps.begin(name)
                self._print(f"{'':>7} {name}", "bold")
                self._print(f"{'':>7} not cached: {why}", "yellow")
                self._parts(parts)
            case StepDone(name, seconds):
                self._steps.end(name.stage)
                self._print(f"{seconds:6.1f}s {name}", "green")
            case Output(stage, data):
                self._output(stage, data)
            case Notice(text):
                self._print(text, "yellow")
            case BegunAnew(why):
                self._steps.forget()
                self._print(why, "yellow")
            case CacheMoved():
                self._print(moved_text(event), "cyan")
        self._refresh()

    def close(self, *, failed: bool) -> None:
        """Leave what has ended, and what a command wrote last that did not end well."""
        self._live.stop()
        for step in self._steps.all if failed else ():
            self._print(f"> {step.name}:", "red")
            for line in step.last_lines():
                self._print(f"  {line}", "")

    def _output(self, stage: int, data: bytes) -> None:
        step = self._steps.running(stage)
        if step is not None:
            step.lines(data)
            return
        for line in data.decode(errors="replace").splitlines():  # an image that is pulled
            self._print(line, "")

    def _parts(self, parts: tuple[tuple[str, str], ...]) -> None:
        for name, value in parts if self._explain else ():
            self._print(f"{'':>9} {name}: {value}", "dim")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(for_terminal(text), style=style), soft_wrap=True)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown < _SHOWN_AGAIN_S and self._steps.all:
            return
        self._shown = now
        self._live.update(Group(*map(_shown, self._steps.all)), refresh=True)


def _shown(step: RunningStep) -> Text:
    head = f"{step.seconds:6.1f}s {step.name}"
    lines = [f"         {line}" for line in step.last_lines()[-_LINES_SHOWN:]]
    return Text(for_terminal(head) + "".join(f"\n{line}" for line in lines), style="dim")
