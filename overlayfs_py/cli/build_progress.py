"""What a build shows while it runs: lines for people, or for programs."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Protocol

from overlayfs_py.builds.events import (
    BegunAnew,
    CacheMoved,
    Notice,
    Output,
    StepBegun,
    StepCached,
    StepDone,
    Way,
)
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from overlayfs_py.builds.events import Event, StepName

_KEPT_LINES = 20  # of a command that fails


class Progress(Protocol):
    """Hears of each event of a build."""

    def tell(self, event: Event) -> None:
        """Show it."""

    def close(self, *, failed: bool) -> None:
        """Show what is left; `failed`: the build came to no end."""


class RunningStep:
    """A step that has been begun."""

    def __init__(self, name: StepName, number: int) -> None:
        self.name = name
        self.number = number
        self.started = time.monotonic()
        self.rest = b""  # a line without its end
        self.last: deque[bytes] = deque(maxlen=_KEPT_LINES)

    def lines(self, data: bytes) -> list[bytes]:
        *whole, self.rest = (self.rest + data).split(b"\n")
        found = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in whole]
        self.last.extend(found)
        return found

    def last_lines(self) -> list[str]:
        """The last lines that it has written, as a terminal may be given them."""
        return [for_terminal(line) for line in self.last]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Steps:
    """The steps that a build is at, by their stages."""

    def __init__(self) -> None:
        self._count = 0
        self._running: dict[int, RunningStep] = {}

    def number(self) -> int:
        """A new step's."""
        self._count += 1
        return self._count

    def begin(self, name: StepName) -> RunningStep:
        """Note a step that runs from now on."""
        step = self._running[name.stage] = RunningStep(name, self.number())
        return step

    def running(self, stage: int) -> RunningStep | None:
        """The step that a stage is at."""
        return self._running.get(stage)

    def end(self, stage: int) -> RunningStep | None:
        """Forget a step that has ended, and return it."""
        return self._running.pop(stage, None)

    def forget(self) -> None:
        """Forget those that will never end."""
        self._running.clear()

    @property
    def all(self) -> list[RunningStep]:
        return list(self._running.values())


class PlainProgress:
    """A line for each thing, with the step's number in front, as BuildKit prints them."""

    def __init__(self, out: IO[bytes], *, explain: bool = False) -> None:
        self._out = out
        self._explain = explain
        self._steps = Steps()

    def tell(self, event: Event) -> None:
        match event:
            case StepCached(name, parts, source):
                number = self._steps.number()
                self._line(number, str(name))
                if name.number > 1:
                    self._line(number, f"CACHED in {source}" if source else "CACHED")
                self._parts(number, parts)
            case StepBegun(name, why, _, parts):
                number = self._steps.begin(name).number
                self._line(number, str(name))
                self._line(number, f"not cached: {why}")
                self._parts(number, parts)
            case StepDone(name, seconds):
                step = self._steps.end(name.stage)
                if step is not None:
                    self._rest(step)
                    self._line(step.number, f"DONE {seconds:.1f}s")
            case Output(stage, data):
                self._output(stage, data)
            case Notice(text):
                self._write(for_terminal(text).encode())
            case BegunAnew(why):
                self._steps.forget()
                self._write(for_terminal(why).encode())
            case CacheMoved():
                self._write(for_terminal(moved_text(event)).encode())

    def close(self, *, failed: bool) -> None:
        """Show what came last of each command that did not end well."""
        for step in self._steps.all if failed else ():
            self._rest(step)
            if step.last:
                self._write(b"------\n > " + for_terminal(str(step.name)).encode() + b":")
                for line in step.last:
                    self._write(line)
                self._write(b"------")

    def _output(self, stage: int, data: bytes) -> None:
        step = self._steps.running(stage)
        if step is None:  # an image that is pulled
            self._out.write(data)
            self._out.flush()
            return
        for line in step.lines(data):
            self._write(b"#%d %.3f %s" % (step.number, step.seconds, line))

    def _rest(self, step: RunningStep) -> None:
        if step.rest:
            for line in step.lines(b"\n"):
                self._write(b"#%d %.3f %s" % (step.number, step.seconds, line))

    def _parts(self, number: int, parts: tuple[tuple[str, str], ...]) -> None:
        if self._explain:
            for name, value in parts:
                self._line(number, f"  {name}: {value}")

    def _line(self, number: int, text: str) -> None:
        self._write(f"#{number} {for_terminal(text)}".encode())

    def _write(self, line: bytes) -> None:
        self._out.write(line + b"\n")
        self._out.flush()


class JsonProgress:
    """An object a line."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def tell(self, event: Event) -> None:
        match event:
            case StepCached(name, parts, source):
                self._write("cached", name, parts=dict(parts), cache=source)
            case StepBegun(name, why, miss, parts):
                differences = [{"part": each.part, "text": each.text} for each in miss.differences]
                self._write(
                    "begun",
                    name,
                    why=why,
                    nearest=miss.nearest,
                    cache=miss.source,
                    differences=differences,
                    parts=dict(parts),
                )
            case StepDone(name, seconds, layer):
                self._write("done", name, seconds=round(seconds, 3), layer=layer)
            case Output(stage, data):
                text = data.decode(errors="replace")
                self._write("output", None, stage=stage, text=text)
            case Notice(text):
                self._write("notice", None, text=text)
            case BegunAnew(why):
                self._write("begun-anew", None, text=why)
            case CacheMoved(way, place, _, steps, layers, mounts, size):
                what = f"cache-{way.value}"
                counts = {"steps": steps, "layers": layers, "mounts": mounts, "bytes": size}
                self._write(what, None, cache=place, **counts)

    def close(self, *, failed: bool) -> None:
        """There is nothing left to show."""

    def _write(self, what: str, name: StepName | None, **more: object) -> None:
        found: dict[str, object] = {"event": what}
        if name is not None:
            found |= {
                "stage": name.stage,
                "stageName": name.title,
                "step": name.number,
                "steps": name.total,
                "instruction": name.text,
            }
        self._out.write(json.dumps(found | more).encode() + b"\n")
        self._out.flush()


def moved_text(moved: CacheMoved) -> str:
    """What people are told of a cache that comes or goes."""
    return f"cache {'to' if moved.way is Way.EXPORT else 'of'} {moved.place}: {moved.text}"


class QuietProgress:
    """Nothing."""

    def tell(self, event: Event) -> None:
        """Show nothing."""

    def close(self, *, failed: bool) -> None:
        """Show nothing."""


def progress_of(kind: str, *, explain: bool, quiet: bool) -> Progress:
    """Return what shows a build."""
    if quiet:
        return QuietProgress()
    if kind == "json":
        return JsonProgress(sys.stdout.buffer)
    if kind == "tty" or (kind == "auto" and sys.stderr.isatty()):
        # Which brings rich along.
        from overlayfs_py.cli.build_terminal import TerminalProgress

        return TerminalProgress(explain=explain)
    return PlainProgress(sys.stderr.buffer, explain=explain)
