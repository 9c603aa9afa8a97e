"""`image explore` on a terminal: layers on the left, the tree of one of them on the right."""

from __future__ import annotations

import curses
import stat
import time
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size

from overlayfs_py.advice.image_places import Change
from overlayfs_py.cli.explore_rows import TreeRows
from overlayfs_py.image.units import human_size
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from overlayfs_py.advice.image_places import ImagePlaces
    from overlayfs_py.cli.explore_rows import Row

_LEAST_TWO_PANES = 60  # columns; with fewer only the active pane is shown
_LEAST_ROWS = 6
_ESCAPE = "\x1b"
_ENTER = ("\n", "\r", curses.KEY_ENTER)
_ERASE = ("\x7f", "\b", curses.KEY_BACKSPACE)
_QUIT = ("q", "Q")
_SIZE_CELLS = 7
_COLOURS = {
    Change.ADDED: curses.COLOR_GREEN,
    Change.CHANGED: curses.COLOR_YELLOW,
    Change.REMOVED: curses.COLOR_RED,
}
_PROGRESS_S = 0.1
_KEYS = "Tab pane  Enter open  a all  c changed  s size  / search  ? help  q quit"
_HELP = (
    "Up Down k j      move the cursor; PgUp PgDn a page, Home End g G to the ends",
    "Tab              to the other pane: layers, or the tree of one",
    "[ ]              the layer before, the next one",
    "Right Left l h   open a directory, close it; Enter and Space do either",
    "a                all that shows with the layer on top, or what it changes",
    "c                leave out what the layer has not changed",
    "s                the largest first, or by name",
    "/ n N            search a name, the next one, the one before",
    "q                quit",
    "",
    "A added  C changed  D removed.  HIDDEN: bytes of a layer that later layers delete or replace.",
)


class LayerLine(NamedTuple):
    """A layer as the list has it."""

    bytes: int
    hidden_bytes: int
    instruction: str


class _Pane(Enum):
    LAYERS = "layers"
    TREE = "tree"


@contextmanager
def whole_screen() -> Iterator[curses.window]:
    """Give the terminal's screen; it is the shell's again afterwards.

    Unlike `curses.wrapper` it starts no colours, which have a background of their own.

    Raises:
        curses.error: it is no terminal that anybody knows.
    """
    curses.setupterm()
    window = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        yield window
    finally:
        curses.endwin()


class Progress:
    """Says how far reading has come, and hears that somebody has seen enough."""

    def __init__(self, window: curses.window, name: str, layers: int) -> None:
        self._window = window
        self._name = name
        self._layers = layers
        self._files = 0
        self._next = time.monotonic() + _PROGRESS_S

    def __call__(self, layer: int) -> None:
        """A file of a layer was read.

        Raises:
            KeyboardInterrupt: somebody has pressed `q`.
        """
        self._files += 1
        if self._files % 256 or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PROGRESS_S
        text = f"{self._name}: reading layer {layer + 1} of {self._layers}, {self._files} files"
        self._window.erase()
        _put(self._window, 0, 0, text, self._window.getmaxyx()[1])
        self._window.refresh()
        self._window.nodelay(True)
        key = self._window.getch()
        self._window.nodelay(False)
        if key in map(ord, _QUIT):
            raise KeyboardInterrupt


class Screen:
    """Shows an image until somebody quits."""

    def __init__(
        self,
        window: curses.window,
        title: str,
        layers: Sequence[LayerLine],
        places: ImagePlaces,
        *,
        colours: bool,
    ) -> None:
        self._window = window
        self._title = title
        self._layers = layers
        self._tree = TreeRows(places, 0)
        self._pane = _Pane.LAYERS
        self._tops = {_Pane.LAYERS: 0, _Pane.TREE: 0}  # the first row that is shown
        self._typed: str | None = None  # while a search is typed
        self._wanted = ""
        self._message = ""
        self._helps = False
        self._attributes = _attributes() if colours else {}

    def run(self) -> None:
        """Show it, and do what keys say."""
        while True:
            self._draw()
            try:
                key = self._window.get_wch()
            except curses.error:  # a signal, a resize among them
                continue
            self._message = ""
            if self._typed is not None:
                self._type(key)
            elif self._helps:
                self._helps = False
            elif key in _QUIT:
                return
            else:
                self._do(key)

    # Keys.

    def _do(self, key: str | int) -> None:
        page = max(1, self._body_rows() - 1)
        moves: dict[str | int, int] = {
            **dict.fromkeys(("k", curses.KEY_UP), -1),
            **dict.fromkeys(("j", curses.KEY_DOWN), 1),
            **dict.fromkeys((curses.KEY_PPAGE, "\x02"), -page),
            **dict.fromkeys((curses.KEY_NPAGE, "\x06"), page),
            **dict.fromkeys(("g", curses.KEY_HOME), -(1 << 31)),
            **dict.fromkeys(("G", curses.KEY_END), 1 << 31),
        }
        actions: dict[str | int, Callable[[], None]] = {
            "\t": self._change_pane,
            "a": self._tree.toggle_whole,
            "c": self._tree.toggle_only_changed,
            "s": self._tree.toggle_order,
            "n": lambda: self._search(backwards=False),
            "N": lambda: self._search(backwards=True),
            "[": lambda: self._go_to_layer(self._tree.layer - 1),
            "]": lambda: self._go_to_layer(self._tree.layer + 1),
        }
        if key in moves:
            self._move(moves[key])
        elif key in actions:
            actions[key]()
        elif key == "?":
            self._helps = True
        elif key == "/":
            self._typed = ""
        elif self._pane is _Pane.TREE:
            self._fold(key)
        elif key in (*_ENTER, "l", curses.KEY_RIGHT):
            self._pane = _Pane.TREE

    def _fold(self, key: str | int) -> None:
        if key in (*_ENTER, " "):
            self._tree.toggle()
        elif key in ("l", curses.KEY_RIGHT):
            self._tree.open()
        elif key in ("h", curses.KEY_LEFT):
            self._tree.close()

    def _move(self, rows: int) -> None:
        if self._pane is _Pane.TREE:
            self._tree.move(rows)
        else:
            self._go_to_layer(self._tree.layer + rows)

    def _go_to_layer(self, at: int) -> None:
        self._tree.show_layer(max(0, min(at, len(self._layers) - 1)))

    def _change_pane(self) -> None:
        self._pane = _Pane.LAYERS if self._pane is _Pane.TREE else _Pane.TREE

    def _type(self, key: str | int) -> None:
        assert self._typed is not None
        if key in _ENTER:
            self._wanted, self._typed = self._typed, None
            self._search(backwards=False)
        elif key == _ESCAPE:
            self._typed = None
        elif key in _ERASE:
            self._typed = self._typed[:-1]
        elif isinstance(key, str) and key.isprintable():
            self._typed += key

    def _search(self, *, backwards: bool) -> None:
        if not self._wanted:
            return
        self._pane = _Pane.TREE
        if not self._tree.find(self._wanted, backwards=backwards):
            self._message = f"{self._wanted}: nowhere in what is shown of this layer"

    # Drawing.

    def _body_rows(self) -> int:
        return max(1, self._window.getmaxyx()[0] - 4)

    def _draw(self) -> None:
        height, width = self._window.getmaxyx()
        self._window.erase()
        if height < _LEAST_ROWS or width < _SIZE_CELLS:
            _put(self._window, 0, 0, "too small", width)
        elif self._helps:
            for at, line in enumerate(_HELP[: height - 1]):
                _put(self._window, at, 0, line, width)
        else:
            self._draw_all(width)
        self._window.refresh()

    def _draw_all(self, width: int) -> None:
        body = self._body_rows()
        _put(self._window, 0, 0, self._title, width, curses.A_BOLD)
        if width >= _LEAST_TWO_PANES:
            left = max(34, min(width * 2 // 5, 64))
            self._draw_layers(0, left)
            self._draw_tree(left + 1, width - left - 1)
            self._window.vline(1, left, curses.ACS_VLINE, body + 1)
        elif self._pane is _Pane.LAYERS:
            self._draw_layers(0, width)
        else:
            self._draw_tree(0, width)
        _put(self._window, body + 2, 0, self._about(), width)
        _put(self._window, body + 3, 0, self._last_line(), width, curses.A_DIM)
        with suppress(curses.error):  # a terminal that cannot hide it
            curses.curs_set(self._typed is not None)
        if self._typed is not None:
            self._window.move(body + 3, min(cell_len(self._last_line()), width - 1))

    def _draw_layers(self, x: int, width: int) -> None:
        self._heading(x, " #    SIZE  HIDDEN INSTRUCTION", width, _Pane.LAYERS)
        for y, at in self._visible(_Pane.LAYERS, len(self._layers), self._tree.layer):
            line = self._layers[at]
            hidden = human_size(line.hidden_bytes, 3) if line.hidden_bytes else ""
            size = human_size(line.bytes, 3)
            text = f"{at:>2} {size:>7} {hidden:>7} {for_terminal(line.instruction)}"
            _put(
                self._window, y, x, text, width, self._cursor(_Pane.LAYERS, at == self._tree.layer)
            )

    def _draw_tree(self, x: int, width: int) -> None:
        self._heading(x, "     SIZE " + self._what(), width, _Pane.TREE)
        rows = self._tree.rows
        if not rows:
            _put(self._window, 2, x, "  nothing", width)
        for y, at in self._visible(_Pane.TREE, len(rows), self._tree.cursor):
            row = rows[at]
            attribute = self._attributes.get(row.seen.change, 0)
            cursor = self._cursor(_Pane.TREE, at == self._tree.cursor)
            _put(self._window, y, x, _row_text(row, self._tree.layer), width, attribute | cursor)

    def _heading(self, x: int, text: str, width: int, pane: _Pane) -> None:
        attribute = curses.A_UNDERLINE | (curses.A_BOLD if pane is self._pane else 0)
        _put(self._window, 1, x, text, width, attribute)

    def _cursor(self, pane: _Pane, is_here: bool) -> int:
        if not is_here:
            return 0
        return curses.A_REVERSE if pane is self._pane else curses.A_BOLD

    def _visible(self, pane: _Pane, count: int, cursor: int) -> list[tuple[int, int]]:
        """Where on the screen which rows are; the cursor's among them."""
        body = self._body_rows()
        top = min(self._tops[pane], cursor, max(0, count - body))
        top = max(top, cursor - body + 1)
        self._tops[pane] = top
        return [(2 + at - top, at) for at in range(top, min(count, top + body))]

    def _what(self) -> str:
        tree = self._tree
        words = [f"LAYER {tree.layer}: " + ("ALL" if tree.is_whole else "ITS CHANGES")]
        words += ["CHANGED ONLY"] if tree.only_changed and tree.is_whole else []
        words += ["BY SIZE"] if tree.by_size else []
        return ", ".join(words)

    def _about(self) -> str:
        """What there is to say of what is under the cursor."""
        if self._pane is _Pane.LAYERS:
            return for_terminal(self._layers[self._tree.layer].instruction)
        row = self._tree.row
        if row is None:
            return ""
        fact = row.place.at(self._tree.layer) or row.place.at(self._tree.layer - 1)
        facts = "" if fact is None else f"{stat.filemode(fact.mode)} {fact.uid}:{fact.gid}  "
        hidden = row.place.hidden_by(self._tree.layer)
        later = "" if hidden is None else f"  (deleted or replaced in layer {hidden})"
        return facts + for_terminal(row.place.path) + later

    def _last_line(self) -> str:
        if self._typed is not None:
            return "/" + for_terminal(self._typed)
        return for_terminal(self._message) or _KEYS


def _row_text(row: Row, layer: int) -> str:
    place = row.place
    fact = place.at(layer) or place.at(layer - 1)
    is_directory = bool(place.below) or (fact is not None and fact.is_directory)
    fold = ("- " if row.is_open else "+ ") if place.below else "  "
    name = for_terminal(place.name) + ("/" if is_directory else "")
    size = human_size(row.seen.size, 3)
    return f"{row.seen.change.value} {size:>{_SIZE_CELLS}} {'  ' * row.depth}{fold}{name}"


def _put(window: curses.window, y: int, x: int, text: str, width: int, attribute: int = 0) -> None:
    """Write a line of exactly so many cells, whatever is in it."""
    encoding = window.encoding
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        window.addstr(y, x, set_cell_size(text, width), attribute)
    except curses.error:
        # The lower right corner is written, and there is no place for the cursor after it.
        return


def _attributes() -> dict[Change, int]:
    if not curses.has_colors():
        return {}
    curses.start_color()
    curses.use_default_colors()
    found = {}
    for number, (change, colour) in enumerate(_COLOURS.items(), 1):
        curses.init_pair(number, colour, -1)
        found[change] = curses.color_pair(number)
    return found
