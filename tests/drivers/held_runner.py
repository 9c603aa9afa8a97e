"""Serve with copy-ups that wait until the file named by the environment's `GO` exists."""

from __future__ import annotations

import os
import time

from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.packs.reader import PackReader
from tests.drivers.runner import main

_DEADLINE_S = 30


def hold(kind: type[DescriptorReader | PackReader]) -> None:
    copy_to = kind.copy_to

    def copy_when_told(
        reader: DescriptorReader, target_fd: int, size: int, *, syncs_soon: bool = False
    ) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not os.path.exists(os.environ["GO"]):
            assert time.monotonic() < deadline, "nobody said go"
            time.sleep(0.005)
        copy_to(reader, target_fd, size, syncs_soon=syncs_soon)

    kind.copy_to = copy_when_told


if __name__ == "__main__":
    hold(DescriptorReader)
    hold(PackReader)
    main()
