"""Serve in a process of its own: (spec, plan, driver) pickled on stdin, "ready" on stdout."""

from __future__ import annotations

import logging
import pickle
import sys

from overlayfs_py.drivers.service import serve


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    spec, plan, driver = pickle.load(sys.stdin.buffer)
    serve(spec, plan, driver=driver, on_ready=lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
