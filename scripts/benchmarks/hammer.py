"""Stat names that nobody has asked for, until stdin ends; then print how long each took, as JSON.

A program of its own, so that its processes do not wait for each other's interpreter.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import suppress


def main() -> None:
    root, worker = sys.argv[1:]
    waits: list[float] = []
    while not select.select([0], [], [], 0)[0]:
        began = time.perf_counter()
        with suppress(FileNotFoundError):  # as it should be: each has to be asked for
            os.lstat(f"{root}/missing-{worker}-{len(waits)}")
        waits.append(time.perf_counter() - began)
    json.dump(waits, sys.stdout)


if __name__ == "__main__":
    main()
