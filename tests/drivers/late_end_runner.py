"""Serve; once the mount is gone, go on when the file named by the environment's `GO` is there."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from overlayfs_py.drivers import direct_driver, pyfuse3_driver
from tests.drivers.runner import main

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from overlayfs_py.drivers.mounting import Mounted
    from overlayfs_py.union.core import Union

_DEADLINE_S = 30


def end_late(driver: ModuleType) -> None:
    run = driver.run

    def run_and_linger(
        union: Union, mounted: Mounted, on_ready: Callable[[], None], noted: Collection[int]
    ) -> None:
        run(union, mounted, on_ready, noted)
        deadline = time.monotonic() + _DEADLINE_S
        while not os.path.exists(os.environ["GO"]):
            assert time.monotonic() < deadline, "nobody said go"
            time.sleep(0.005)

    driver.run = run_and_linger


if __name__ == "__main__":
    end_late(direct_driver)
    end_late(pyfuse3_driver)
    main()
