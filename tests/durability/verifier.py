"""Kill the daemon, or cut the power of the upper's disk, under writers; then see what is there.

    python -m tests.durability.verifier [--kills N] [--cuts N] [--seed N] [DRIVER ...]

Prints a line of JSON per driver, and ends with 1 where something was lost, torn or stray. The power
is cut by ext4's own shutdown: nothing that the page cache or the journal holds in memory is
written any more, and the next mount replays what the journal has on disk.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from overlayfs_py.syscalls.mounts import MNT_DETACH, umount
from tests.durability import slots, writing
from tests.support import mounts
from tests.support.mounts import is_mounted

_WRITERS = 4
_DEADLINE_S = 20.0
_MOST_LINES = 150  # of the writers' logs before the hazard
_CHECKOUT = Path(__file__).parents[2]
# Source: include/uapi/linux/fs.h, EXT4_IOC_SHUTDOWN and its flags.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH = struct.pack("I", 2)


class Scene:
    """Layers, an upper on a disk of its own, and what the writers have made of it."""

    def __init__(self, base: Path, driver: str, seed: int) -> None:
        self.driver, self.draw = driver, random.Random(seed)
        self.base, self.disk = base, base / "disk"
        self.layer = base / "layer"
        self.layer.mkdir()
        for writer in range(_WRITERS):
            slots.lay_out(self.layer / f"w{writer}")
        self.versions = [dict.fromkeys(slots.SLOTS, 0) for _ in range(_WRITERS)]
        self.seen = [
            {slot: slots.expected(slot, 0) for slot in slots.SLOTS} for _ in range(_WRITERS)
        ]
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._make_disk()

    def _make_disk(self) -> None:
        image = self.base / "image"
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        self.disk.mkdir()
        self.plug_in()
        for name in ("upper", "work"):
            (self.disk / name).mkdir()
        subprocess.run(["sync", "-f", self.disk], check=True)

    def plug_in(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.base / "image", self.disk], check=True)

    def pull_out(self) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while subprocess.run(["umount", self.disk], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the disk stays in use"
            time.sleep(0.01)

    def round(self, *, power_cut: bool) -> None:
        """Mount, compare with what the kernel showed, let the writers work, and let it happen."""
        root = self.base / "merged"
        root.mkdir(exist_ok=True)
        daemon = self._mount(root)
        self._compare(root, "mounted again", lambda writer, slot: [self.seen[writer][slot]])
        stray = [name for name in os.listdir(self.disk / "work/work") if name.startswith("#")]
        self._require(not stray, f"left on the stage: {stray}")
        logs = [self.base / f"log{writer}" for writer in range(_WRITERS)]
        writers = [
            writing.start(root / f"w{n}", logs[n], self.versions[n], self.draw.getrandbits(32))
            for n in range(_WRITERS)
        ]
        self._wait_for_lines(logs)
        if power_cut:
            self._cut_power()
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        for pid in writers:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self._require(status == 0, "a writer was told something else than that it is over")
        umount(os.fsencode(root), MNT_DETACH)
        if power_cut:
            self.pull_out()
            self.plug_in()
        self._look_through_kernel(logs, power_cut=power_cut)
        self.counts["cuts" if power_cut else "kills"] += 1

    def _mount(self, root: Path) -> subprocess.Popen[bytes]:
        options = f"lowerdir={self.layer},upperdir={self.disk}/upper,workdir={self.disk}/work"
        command = ["mount", "-f", "--driver", self.driver, "-o", options, os.fspath(root)]
        daemon = subprocess.Popen([sys.executable, "-m", "overlayfs_py", *command], cwd=_CHECKOUT)
        deadline = time.monotonic() + _DEADLINE_S
        while not is_mounted(root):
            assert daemon.poll() is None, "the daemon did not mount"
            assert time.monotonic() < deadline, "the mount does not answer"
            time.sleep(0.002)
        return daemon

    def _wait_for_lines(self, logs: list[Path]) -> None:
        wanted = self.draw.randrange(_WRITERS, _MOST_LINES) * 15  # bytes of a line, about
        deadline = time.monotonic() + _DEADLINE_S
        while sum(log.stat().st_size for log in logs if log.exists()) < wanted:
            assert time.monotonic() < deadline, "the writers do not come forward"
            time.sleep(0.0005)

    def _cut_power(self) -> None:
        fd = os.open(self.disk, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _WITHOUT_FLUSH)
        finally:
            os.close(fd)

    def _look_through_kernel(self, logs: list[Path], *, power_cut: bool) -> None:
        known = [writing.read_log(logs[n], self.versions[n], self.seen[n]) for n in range(_WRITERS)]
        for log, slots_of_one in zip(logs, known, strict=True):
            self.counts["changes"] += sum(len(slot.done) for slot in slots_of_one.values())
            self.counts["on disk"] += sum(bool(slot.on_disk) for slot in slots_of_one.values())
            log.unlink(missing_ok=True)

        def allowed(writer: int, slot: str) -> list[object]:
            one = known[writer][slot]
            return writing.values_of(slot, one, one.allowed(power_cut=power_cut))

        base = self.base / "kernel"
        base.mkdir(exist_ok=True)
        with mounts.kernel_overlay(
            base,
            [self.layer],
            upper=self.disk / "upper",
            work=self.disk / "work",
            options={"index": "off"},
        ) as merged:
            self._compare(merged.root, "power cut" if power_cut else "killed", allowed)
        for writer in range(_WRITERS):
            for slot, one in known[writer].items():
                # The next change must be one from what shows now.
                last = one.allowed(power_cut=power_cut)
                fits = [v for v in last if slots.expected(slot, v) == self.seen[writer][slot]]
                self.versions[writer][slot] = fits[-1] if fits else last[-1]

    def _compare(self, root: Path, when: str, allowed: object) -> None:
        self._require(sorted(os.listdir(root)) == [f"w{n}" for n in range(_WRITERS)], "stray names")
        for writer in range(_WRITERS):
            here = root / f"w{writer}"
            names = {name.partition(".")[0] for name in os.listdir(here)}
            self._require(names <= {*slots.SLOTS}, f"{when}: stray: {names - {*slots.SLOTS}}")
            for slot in slots.SLOTS:
                value = slots.shown(here, slot)
                if not slots.is_one_of(slot, value, allowed(writer, slot)):  # type: ignore[operator]
                    self._require(False, f"{when}: w{writer}/{slot} shows {value!r:.80}")
                self.seen[writer][slot] = value
                self.counts["looks"] += 1

    def _require(self, holds: object, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)


def verify(driver: str, *, kills: int, cuts: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return what was done, and what was wrong."""
    base = Path(tempfile.mkdtemp(prefix="durability-"))
    with ExitStack() as after:
        after.callback(shutil.rmtree, base)
        scene = Scene(base, driver, seed)
        after.callback(scene.pull_out)
        for number in range(kills + cuts):
            scene.round(power_cut=number >= kills)
            if scene.complaints:
                break
    return scene.counts, scene.complaints


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("drivers", nargs="*", default=["direct", "pyfuse3"])
    chosen = parser.parse_args()
    wrong = 0
    for driver in chosen.drivers:
        start = time.monotonic()
        counts, complaints = verify(driver, kills=chosen.kills, cuts=chosen.cuts, seed=chosen.seed)
        wrong += len(complaints)
        took = round(time.monotonic() - start)
        report = {"driver": driver, "seconds": took, **counts, "wrong": complaints}
        print(json.dumps(report), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
