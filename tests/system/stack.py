"""A small stack of layers on disk, and the two ways to mount it: ours and the kernel's."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.lowers import as_served
from tests.system.mount_table import mounted_at
from tests.system.processes import Word, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Said in full because their defaults come from the kernel's build.
KERNEL_OPTIONS = "redirect_dir=on,index=off,metacopy=off,xino=off"
EMPTY: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the layers, the upper, the workdir and the mount point are."""

    lower: tuple[Path, ...]  # topmost first
    upper: Path
    work: Path
    target: Path

    @classmethod
    def make(cls, home: Path, lower: tuple[Path, ...]) -> Stack:
        """Create an empty upper, workdir and mount point below `home`."""
        stack = cls(lower, home / "upper", home / "work", home / "merged")
        for directory in (stack.upper, stack.work, stack.target):
            directory.mkdir(parents=True)
        return stack

    @property
    def options(self) -> str:
        return self._options(self.lower)

    def _options(self, layers: Iterable[Path]) -> str:
        lower = ":".join(map(os.fspath, layers))
        return f"lowerdir={lower},upperdir={self.upper},workdir={self.work}"

    @contextmanager
    def mounted(self, command: Word, *, extra: str = "", driver: str = "auto") -> Iterator[Path]:
        """Mount with `overlayfs-py`, and unmount at the end; gives the mount point."""
        options = self._options(map(as_served, self.lower))
        if extra:
            options = f"{options},{extra}"
        run([command, "mount", "--driver", driver, "-o", options, self.target], env=EMPTY)
        try:
            yield self.target
        finally:
            run([command, "umount", self.target], env=EMPTY)
            wait_until(lambda: mounted_at(self.target) is None, f"{self.target} to be unmounted")

    @contextmanager
    def mounted_by_kernel(self) -> Iterator[Path]:
        options = f"{self.options},{KERNEL_OPTIONS}"
        run(["mount", "-t", "overlay", "-o", options, "overlay", self.target])
        try:
            yield self.target
        finally:
            run(["umount", self.target])


def make_layers(home: Path) -> tuple[Path, ...]:
    """Two layers that meet in `etc`; the upper of them hides `gone` and replaces `replaced`."""
    top, bottom = home / "top", home / "bottom"
    write_tree(
        bottom,
        {
            "etc/plain": "plain\n",
            "etc/gone": "gone\n",
            "etc/replaced": "old\n",
            "only/low": "low\n",
        },
    )
    write_tree(top, {"etc/replaced": "new\n", "usr/bin/tool": "#!/bin/sh\necho tool\n"})
    (top / "usr/bin/tool").chmod(0o755)
    os.mknod(top / "etc/gone", 0o600 | 0o020000, 0)
    return (top, bottom)


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
