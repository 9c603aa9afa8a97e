"""Serve, with an `on_ready` that fails."""

from __future__ import annotations

import pickle
import sys

from overlayfs_py.drivers.service import serve


def fail() -> None:
    raise OSError("planted before ready")


if __name__ == "__main__":
    spec, plan, driver = pickle.load(sys.stdin.buffer)
    serve(spec, plan, driver=driver, on_ready=fail)
