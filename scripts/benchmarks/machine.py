"""Where a run took place, and of what: figures without that say nothing."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_VERSION_OF = {
    "fuse-overlayfs": ["dpkg-query", "-W", "-f", "${Version}", "fuse-overlayfs"],
    "unionfs-fuse": ["dpkg-query", "-W", "-f", "${Version}", "unionfs-fuse"],
}
_GROUNDS = {"disk": "on disk", "ext4": "on an ext4 of their own", "memory": "in memory"}


def described() -> dict[str, object]:
    """Return what is needed to judge the figures."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _field("/proc/cpuinfo", "model name"),
        "processors": os.cpu_count(),
        "memory_kib": int(_field("/proc/meminfo", "MemTotal").split()[0]),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "overlayfs_py")),
        "load": os.getloadavg()[0],
        "versions": {name: _output(command) for name, command in _VERSION_OF.items()},
    }


def caption(machine: dict[str, object]) -> str:
    """Return the same in a line."""
    commit = str(machine["commit"])[:10]
    changed = " with changes" if machine["uncommitted_changes"] else ""
    return (
        f"{machine['date']}, kernel {machine['kernel']}, {machine['processors']} processors,"
        f" commit {commit}{changed}, load before {machine['load']:.1f},"
        f" uppers {_GROUNDS[str(machine['on'])]},"
        f" {machine['rounds']} rounds{', quick' if machine['quick'] else ''}"
    )


def _field(path: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", Path(path).read_text(), re.MULTILINE)
    return found[1] if found else "0"


def _git(*arguments: str) -> str:
    return _output(["git", "-C", str(_CHECKOUT), *arguments])


def _output(command: list[str]) -> str:
    """Return what a command prints; what is not installed has no version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
