"""What another program has shown, recorded once: it need not be asked in each run of the tests.

A recording lies beside the test as JSON. `pytest -rP` asks the program again, and what it says has
to be what is recorded; where there is no recording it makes one, to be looked at and committed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


class Recording:
    """The answers of one program to one module's questions."""

    def __init__(self, path: Path, *, asks: bool) -> None:
        self._path = path
        self._asks = asks
        self._is_new = not path.exists()
        self._known: dict[str, Json] = {} if self._is_new else json.loads(path.read_text())

    @property
    def asks(self) -> bool:
        """Whether the program itself is asked, and so has to be there."""
        return self._asks

    def answer(self, question: str, ask: Callable[[], Json]) -> Json:
        """Return what the program answers; `ask` asks it."""
        if not self._asks:
            return self._known[question]
        found = ask()
        if self._is_new:
            self._known[question] = found
            text = json.dumps(self._known, indent=1, sort_keys=True, ensure_ascii=False)
            self._path.write_text(text + "\n")
        assert found == self._known[question], question
        return found


def asks_programs(config: pytest.Config) -> bool:
    """Whether this run of pytest is to ask other programs again, and shows what they say."""
    return "P" in config.getoption("reportchars")
