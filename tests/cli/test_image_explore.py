"""`image explore` on a real terminal, which `pyte` shows as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyte
import pytest

from overlayfs_py.store.store import Store
from tests.support.stored import make_image
from tests.system.processes import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE_S = 20
_OVERLAYFS_PY = Path(sys.executable).parent / "overlayfs-py"
_HOSTILE = "bad\x1b[2Jname\u202e"


class Screen:
    """The command on a terminal of its own."""

    def __init__(self, words: list[str], columns: int, rows: int, **environment: str) -> None:
        self.shown = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.shown)
        self.written = b""
        self._pid, self._fd = pty.fork()
        if not self._pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            variables = {**os.environ, "TERM": "linux", "LC_ALL": "C.UTF-8", **environment}
            for name in ("COLUMNS", "LINES"):  # pytest-xdist's; they go before the terminal's size
                variables.pop(name, None)
            os.execve(_OVERLAYFS_PY, ["overlayfs-py", *words], variables)

    def resize(self, columns: int, rows: int) -> None:
        self.shown.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.shown.display]

    def type(self, keys: str, *expected: str) -> None:
        """Type, and wait until all that is expected stands on the screen."""
        os.write(self._fd, keys.encode())
        self.wait_for(lambda: all(any(x in line for line in self.lines) for x in expected))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            if select.select([self._fd], [], [], 0.05)[0]:
                data = os.read(self._fd, 1 << 16)
                self.written += data
                self._stream.feed(data)

    def quit(self) -> int:
        os.write(self._fd, b"q")
        while True:
            try:
                if not os.read(self._fd, 1 << 16):
                    break
            except OSError:  # EIO: nobody has the terminal open any more
                break
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        os.close(self._fd)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an image of two layers, the second of which does all that a layer can do."""
    root = tmp_path_factory.mktemp("explore") / "store"
    lower = {
        "etc/kept": "k" * 10,
        "etc/changed": "c" * 3000,
        "etc/gone": "g" * 40,
        "wide-名前": "x",
    }
    lower |= {"big/one": "1" * 50_000, "big/two": "2" * 70_000, _HOSTILE: "h"}
    upper = {"etc/changed": "C" * 4000, "etc/.wh.gone": "", "new": "n"}
    steps = ["COPY . /", "RUN one && \\\n  \x1b[2Jtwo"]
    make_image(Store.open(root), "app", layers=[lower, upper], steps=steps)
    return root


@pytest.fixture
def open_screen(store: Path) -> Iterator[Callable[..., Screen]]:
    screens = []

    def start(columns: int = 80, rows: int = 24, *options: str, **environment: str) -> Screen:
        words = ["image", "explore", "--root", str(store), *options, "app"]
        screens.append(Screen(words, columns, rows, **environment))
        screens[-1].type("", "q quit")
        return screens[-1]

    yield start
    for screen in screens:
        screen.close()


def test_layers_and_what_each_changes(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen()
    assert screen.lines[0].startswith("app  127.1kB in 2 layers, 3.04kB (2.4 %) hidden by later")
    assert screen.lines[2].startswith(" 0   123kB  3.04kB COPY . /")

    screen.type("]", "LAYER 1: ITS CHANGES", "A      1B   new")
    screen.type("\t\r", "  4kB - etc/", "C     4kB     changed", "D      0B     gone")
    assert not any("kept" in line for line in screen.lines)
    screen.type("a", "LAYER 1: ALL", "      10B     kept")
    screen.type("c", "CHANGED ONLY")
    assert not any("kept" in line for line in screen.lines)
    screen.type("/gone\r", "0:0  /etc/gone")
    screen.type("/nothing\r", "nothing: nowhere in what is shown of this layer")
    screen.type("?", "quit", "the next one, the one before")
    screen.type("?", "/ search")
    assert screen.quit() == 0


def test_the_largest_come_first(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen(160, 50)
    screen.type("\ts", "BY SIZE")
    names = [line.partition("│")[2].split()[-1] for line in screen.lines[2:4]]
    assert names == ["big/", "etc/"]
    screen.type("gl", "- big/")
    names = [line.partition("│")[2].split()[-1] for line in screen.lines[2:5]]
    assert names == ["big/", "two", "one"]
    screen.type("j", "/big/two")
    screen.type("h", "0:0  /big")
    screen.type("[n", "LAYER 0")
    assert screen.quit() == 0


def test_no_name_and_no_instruction_reaches_the_terminal(
    open_screen: Callable[..., Screen],
) -> None:
    screen = open_screen(160)
    screen.type("", "bad\\x1b[2Jname\\u202e", "RUN one && \\ \\x1b[2Jtwo", "wide-名")
    assert b"\x1b[2Jname" not in screen.written
    assert "\u202e".encode() not in screen.written
    screen.type("/bad\x1b", "q quit")  # a search that is given up
    assert screen.quit() == 0


@pytest.mark.parametrize("how", ["option", "variable", "terminal"])
def test_letters_say_it_without_colours(open_screen: Callable[..., Screen], how: str) -> None:
    options = ["--no-color"] if how == "option" else []
    environment = {"option": {}, "variable": {"NO_COLOR": "1"}, "terminal": {"TERM": "vt100"}}
    screen = open_screen(80, 24, *options, **environment[how])
    screen.type("]", "A      1B   new")

    assert {each.fg for line in screen.shown.buffer.values() for each in line.values()} == {
        "default"
    }


def test_colours(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen()
    screen.type("", "A", "big/")

    assert "green" in {each.fg for line in screen.shown.buffer.values() for each in line.values()}


def test_it_follows_the_terminal_s_size(open_screen: Callable[..., Screen]) -> None:
    screen = open_screen()
    screen.resize(50, 10)
    screen.wait_for(lambda: "COPY" in screen.lines[2] and "│" not in screen.lines[2])
    screen.type("\t", "ITS CHANGES")
    screen.resize(20, 4)
    screen.wait_for(lambda: screen.lines[0] == "too small")
    screen.resize(90, 30)
    screen.wait_for(lambda: "q quit" in screen.lines[29])
    assert screen.quit() == 0


def test_without_a_terminal_it_says_so(store: Path) -> None:
    done = attempt([_OVERLAYFS_PY, "image", "explore", "--root", store, "app"])

    assert done.returncode == 1
    assert done.stderr.endswith("needs a terminal; `image analyze --json` is for programs\n")


def test_a_terminal_that_nobody_knows(store: Path) -> None:
    words = ["image", "explore", "--root", str(store), "app"]
    screen = Screen(words, 80, 24, TERM="no-such-terminal")
    screen.wait_for(lambda: any("TERM=no-such-terminal" in line for line in screen.lines))
    screen.close()
