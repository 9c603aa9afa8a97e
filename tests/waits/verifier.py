"""How long others have to wait for an answer while one process does what takes long.

    python -m tests.waits.verifier [--names N] [--copy-mb N] [--driver DRIVER]... [SCENE ...]

Prints a line of JSON per command, and ends with 1 where it was more than 50 ms. What else
runs on the machine counts for little: the verifier and all that it starts go first (nice -15), and
how long the daemon or the one who asks waited for a processor is left aside, but for `in_all_ms`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from tests.support import mounts
from tests.support.lowers import pack
from tests.waits.prober import BOUND_S, Prober
from tests.waits.scenes import SCENES, Scene, Stage

_DRIVERS = ("direct", "pyfuse3")
_IDLE_S = 1.5


def measure(name: str, driver: str, names: int, copy_bytes: int) -> bool:
    """Measure all commands of a scene; returns whether nobody waited for too long."""
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waits-")))
        memory = disk / "memory"
        memory.mkdir()
        # Gone with the mount namespace: to remove so many files would take its time.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80%", "waits", memory], check=True)
        stack.callback(subprocess.run, ["umount", "-l", memory], check=True)
        scene = SCENES[name](Stage(memory, disk, names, copy_bytes, stack))
        (scene.lowers[0] / "beside").mkdir()
        if scene.packed:
            lowers = [pack(lower, memory) for lower in scene.lowers]
            scene = replace(scene, lowers=lowers)
        base = memory if scene.upper is None else scene.upper.parent
        mounted = stack.enter_context(
            mounts.ours(
                base,
                scene.lowers,
                driver=driver,
                upper=scene.upper or True,
                options=scene.options,
                complains=scene.complains,
            )
        )
        prober = stack.enter_context(closing(Prober(mounted.root / "beside", _daemon_pid())))
        return _measure_all(scene, prober, mounted.root, {"driver": driver, "scene": name})


def _daemon_pid() -> int:
    """The process of ours that serves, a child of this one."""
    children = Path("/proc/thread-self/children").read_text().split()
    (found,) = [
        int(pid)
        for pid in children
        if b"\0overlayfs_py\0mount\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


def _measure_all(scene: Scene, prober: Prober, root: Path, about: dict[str, str]) -> bool:
    fine = True
    commands = {"idle": ("sleep", str(_IDLE_S))} | dict(scene.commands)
    for title, command in commands.items():
        prober.begin()
        begun = time.monotonic()
        with scene.meanwhile():
            subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)
        took = time.monotonic() - begun
        waits = prober.waits()
        figures = {
            "took_s": round(took, 2),
            "longest_ms": round(waits.longest_s * 1e3, 1),
            "in_all_ms": round(waits.longest_in_all_s * 1e3, 1),
            "calls": waits.calls,
            "too_long": waits.too_long,
        }
        print(json.dumps({**about, "command": title, **figures}), flush=True)
        fine = fine and waits.longest_s <= BOUND_S
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--names", type=int, default=300_000)
    parser.add_argument("--copy-mb", type=int, default=4096)
    parser.add_argument("--driver", action="append", choices=_DRIVERS)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    asked = parser.parse_args()
    os.nice(-15)
    fine = [
        measure(scene, driver, asked.names, asked.copy_mb << 20)
        for scene in asked.scenes or SCENES
        for driver in asked.driver or _DRIVERS
    ]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
