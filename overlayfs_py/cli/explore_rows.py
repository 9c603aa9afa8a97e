"""What `image explore` shows of an image, and where the cursor is; no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.advice.image_places import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from overlayfs_py.advice.image_places import ImagePlaces, Place, Seen


class Row(NamedTuple):
    """A path on the screen."""

    place: Place
    depth: int
    seen: Seen
    is_open: bool


class TreeRows:
    """The tree of one layer: which directories are open, what is left out, in which order."""

    def __init__(self, places: ImagePlaces, layer: int) -> None:
        """Begin with what a layer changes, all directories closed."""
        self._places = places
        self._layer = layer
        self._is_whole = False
        self._only_changed = False
        self._by_size = False
        self._opened: set[Place] = set()
        self._seen = self._look()
        self._rows: list[Row] | None = None
        self.cursor = 0

    @property
    def layer(self) -> int:
        """Whose tree it is."""
        return self._layer

    @property
    def is_whole(self) -> bool:
        """Whether all is shown that the layers up to this one show; else what it changes."""
        return self._is_whole

    @property
    def only_changed(self) -> bool:
        """Whether what the layer has not changed is left out."""
        return self._only_changed

    @property
    def by_size(self) -> bool:
        """Whether the largest come first; else names in their order."""
        return self._by_size

    @property
    def rows(self) -> list[Row]:
        """All rows, from the top."""
        if self._rows is None:
            self._rows = list(self._walk(lambda place: place in self._opened))
            self.cursor = max(0, min(self.cursor, len(self._rows) - 1))
        return self._rows

    @property
    def row(self) -> Row | None:
        """The one under the cursor; None where there is nothing."""
        return self.rows[self.cursor] if self.rows else None

    def show_layer(self, layer: int) -> None:
        """Go to another layer; the cursor stays on its path, if that is there."""
        if layer != self._layer:
            self._layer = layer
            self._look_again()

    def toggle_whole(self) -> None:
        """Show all, or what the layer changes."""
        self._is_whole = not self._is_whole
        self._look_again()

    def toggle_only_changed(self) -> None:
        """Leave out what has not changed, or not."""
        self._only_changed = not self._only_changed
        self._arrange()

    def toggle_order(self) -> None:
        """Order by size, or by name."""
        self._by_size = not self._by_size
        self._arrange()

    def move(self, rows: int) -> None:
        """Move the cursor, as far as there are rows."""
        self.cursor = max(0, min(self.cursor + rows, len(self.rows) - 1))

    def toggle(self) -> None:
        """Open the directory under the cursor, or close it."""
        if self.row is not None:
            (self.close if self.row.is_open else self.open)()

    def open(self) -> None:
        """Show what is in the directory under the cursor."""
        if self.row is not None and self.row.place.below:
            self._opened.add(self.row.place)
            self._arrange()

    def close(self) -> None:
        """Close the directory under the cursor, or go to the one around it."""
        row = self.row
        if row is None:
            return
        if row.is_open:
            self._opened.discard(row.place)
            self._arrange()
        elif row.depth:
            self._go_to(row.place.above)

    def find(self, text: str, *, backwards: bool = False) -> bool:
        """Go to the next path with a text in its name, in closed directories too; whether any is.

        Small letters stand for large ones as well.
        """
        wanted = text.encode("utf-8", "surrogateescape")
        ignores_case = text == text.lower()
        order = [row.place for row in self._walk(lambda _: True)]
        here = order.index(self.row.place) if self.row is not None else -1
        later, earlier = order[here + 1 :], order[: max(here, 0)]
        ring = [*reversed(earlier), *reversed(later)] if backwards else [*later, *earlier]
        for place in ring:
            if wanted in (place.name.lower() if ignores_case else place.name):
                self._open_way(place)
                self._go_to(place)
                return True
        return False

    def _open_way(self, place: Place) -> None:
        above = place.above
        while above is not None:
            self._opened.add(above)
            above = above.above
        self._rows = None

    def _go_to(self, place: Place | None) -> None:
        for at, row in enumerate(self.rows):
            if row.place is place:
                self.cursor = at

    def _look(self) -> Mapping[Place, Seen]:
        return self._places.seen(self._layer, is_whole=self._is_whole)

    def _look_again(self) -> None:
        self._seen = self._look()
        self._arrange()

    def _arrange(self) -> None:
        """Make the rows anew; the cursor stays on its path, or goes to one around it."""
        row = self.row if self._rows else None
        place = None if row is None else row.place
        self._rows = None
        shown = {row.place for row in self.rows}
        while place is not None and place not in shown:
            place = place.above
        if place is not None:
            self._go_to(place)

    def _walk(self, is_open: Callable[[Place], bool]) -> Iterator[Row]:
        pending = [(place, 0) for place in reversed(self._in_order(self._places.root))]
        while pending:
            place, depth = pending.pop()
            opened = bool(place.below) and is_open(place)
            yield Row(place, depth, self._seen[place], opened)
            if opened:
                pending += ((child, depth + 1) for child in reversed(self._in_order(place)))

    def _in_order(self, directory: Place) -> list[Place]:
        found = [child for child in directory.below.values() if self._is_shown(child)]
        if self._by_size:
            return sorted(found, key=lambda child: (-self._seen[child].size, child.name))
        return sorted(found, key=lambda child: child.name)

    def _is_shown(self, place: Place) -> bool:
        seen = self._seen.get(place)
        if seen is None:
            return False
        is_changed = seen.change is not Change.NONE or seen.changes_below > 0
        return is_changed or not self._only_changed
