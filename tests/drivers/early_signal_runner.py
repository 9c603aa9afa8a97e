"""Serve, and get SIGTERM as soon as there is a mount, before the driver has begun."""

from __future__ import annotations

import pickle
import signal
import sys

from overlayfs_py.drivers import service


def main() -> None:
    spec, plan, driver = pickle.load(sys.stdin.buffer)
    require_apart = service._require_apart

    def be_told_to_end(*given: object) -> None:
        require_apart(*given)  # type: ignore[arg-type]
        print("ready", flush=True)
        signal.raise_signal(signal.SIGTERM)

    service._require_apart = be_told_to_end  # type: ignore[assignment]
    service.serve(spec, plan, driver=driver, on_ready=lambda: None)


if __name__ == "__main__":
    main()
