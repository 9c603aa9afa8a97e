"""Serve where loading trio goes on until the file `GO` is there; `LOADING` says that it began."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.drivers.runner import main

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


class Hold:
    """Finds no module, and takes its time for trio."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        if name == "trio":
            Path(os.environ["LOADING"]).touch()
            while not Path(os.environ["GO"]).exists():
                time.sleep(0.01)


if __name__ == "__main__":
    sys.meta_path.insert(0, Hold())  # type: ignore[arg-type]
    main()
