"""Processes of containers' lives killed at random moments; the next commands put all right.

`scripts/verify-container-kills` does it as often as you like.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.life.conftest import Engine, make_engine, make_small_root
from tests.system.mount_table import mounts_below
from tests.system.processes import wait_until

_LOOP = "trap 'exit 0' TERM; while :; do echo x > /tmp/x; sleep 0.05; done # "
_LONGEST_S = 1.0  # that a command takes; some kills come after its end
_CGROUPS = Path("/sys/fs/cgroup")


class Killing:
    """Rounds of one engine: a command is under way, a process is killed, all is cleaned up."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self._idents: set[str] = set()
        self.killed: Counter[str] = Counter()

    def round(self, kills: int = 1) -> None:
        """Kill so often, each time in another life; AssertionError where something is left."""
        killed = dict(self._interrupted() for _ in range(kills))
        try:
            self._put_right()
            for name in killed:
                self._require_nothing_left(name)
        except BaseException as error:
            error.add_note("after a kill of " + ", of ".join(killed.values()))
            raise

    def end(self) -> None:
        """Finish what rounds have begun: nothing here."""

    def _interrupted(self) -> tuple[str, str]:
        """A container's name, and what was killed when."""
        name = f"k{self._random.randrange(10**9)}"
        moment = self._random.choice(["start", "running", "stop", "exec", "rm", "restart"])
        if moment != "start":
            self._engine(*self._starting(name))
        command = self._begin(moment, name)
        time.sleep(self._random.uniform(0, _LONGEST_S))
        role = self._kill_one(name, command)
        self.killed[f"{moment}: {role}"] += 1
        if moment == "running":
            command.terminate()  # what was killed need not have been all
        command.communicate(timeout=60)
        return name, f"{role} at {moment}"

    def _starting(self, name: str) -> list[str]:
        words = ["run", "-d", "--name", name, "--stop-timeout", "1", "-v", f"{name}:/data"]
        words += self._random.choice([[], ["--rm"]])
        if not self._engine.is_user:  # who may have no tunnel, and no cgroup
            words += self._random.choice([[], ["--pids-limit", "50"]])
            words += self._random.choice([[], ["--network", "private"], ["-p", "0:80"]])
        return [*words, "small:1", "sh", "-c", _LOOP + name]

    def _begin(self, moment: str, name: str) -> subprocess.Popen[bytes]:
        words = {
            "start": self._starting(name),
            "running": ["logs", "-f", name],
            "stop": ["stop", name],
            "exec": ["exec", name, "sh", "-c", "sleep 0.3"],
            "rm": ["rm", "-f", name],
            "restart": ["restart", name],
        }[moment]
        pipe = subprocess.PIPE
        argv, environment = self._engine.argv(*words), self._engine.environment
        return subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe)

    def _kill_one(self, name: str, command: subprocess.Popen[bytes]) -> str:
        ours = processes_of(self._engine)
        inside = [pid for pid in _all() if name in _read(pid, "cmdline") and pid not in ours]
        by_role: dict[str, list[int]] = {"first process": inside[:1]} if inside else {}
        for each in ours:
            by_role.setdefault(self._role(each, ours, command.pid), []).append(each)
        if not by_role:
            return "nothing"
        role = self._random.choice(sorted(by_role))
        pid = self._random.choice(by_role[role])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return role

    @staticmethod
    def _role(pid: int, ours: list[int], command: int) -> str:
        """What it is, as far as its parents tell: a monitor's parent has gone."""
        if pid == command:
            return "command"
        fields = _read(pid, "stat").rpartition(")")[2].split()
        return "monitor or session" if len(fields) < 2 or int(fields[1]) not in ours else "helper"

    def _put_right(self) -> None:
        """As a user does: look, remove, prune; what is still ending is waited for."""
        if self._engine.containers.exists():
            self._idents.update(os.listdir(self._engine.containers))
        wait_until(self._nothing_starts, "the end of what was under way", seconds=30)
        for line in self._engine("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines():
            name, state = line.split()
            if state == "running" and self._random.random() < 0.5:
                self._engine.attempt("stop", name)
        left = self._engine("ps", "-aq").split()
        if left:
            self._engine("rm", "-fv", *left)
        self._engine("container", "prune", "-f")
        self._engine("volume", "prune", "-af")
        self._engine("store", "prune")

    def _nothing_starts(self) -> bool:
        """Whether each process of ours belongs to a container that `ps` shows as running."""
        states = self._engine("ps", "-a", "--format", "{{.State}}").split()
        return "running" in states or not processes_of(self._engine)

    def _require_nothing_left(self, name: str) -> None:
        engine = self._engine
        wait_until(lambda: not processes_of(engine), "our processes", seconds=20)
        wait_until(lambda: not [pid for pid in _all() if name in _read(pid, "cmdline")], "its own")
        assert mounts_below(engine.directory) == []
        store = engine.directory / "data/overlayfs-py"
        for directory in ("containers", "volumes", "staging"):
            place = store / directory
            assert (os.listdir(place) if place.exists() else []) == [], directory
        assert os.listdir(engine.directory / "tmp") == []
        found = {path.name for path in _CGROUPS.rglob("overlayfs-py/*")}
        assert not found & self._idents, "cgroups"
        assert engine("store", "fsck").strip() in ("", "nothing is wrong")


def processes_of(engine: Engine) -> list[int]:
    """Those that were started with the engine's environment: commands, monitors, daemons."""
    mark = f"XDG_DATA_HOME={engine.environment['XDG_DATA_HOME']}\0"
    return [pid for pid in _all() if mark in _read(pid, "environ")]


def _all() -> list[int]:
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()
    ]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _kind(*, snapshots: bool) -> type[Killing]:
    if snapshots:
        from tests.life.snapshot_kills import SnapshotKilling

        return SnapshotKilling
    return Killing


def main() -> None:
    """Kill, and say how often what was killed when."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--user", action="store_true", help="as an ordinary user")
    parser.add_argument(
        "--snapshots", action="store_true", help="in snapshot, restore, reset, branch, commit"
    )
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-kills-"))
    began = time.monotonic()
    root = make_small_root(Path(tempfile.mkdtemp(prefix="overlayfs-root-")) / "root")
    with make_engine(directory, root, is_user=chosen.user) as engine:
        killing = _kind(snapshots=chosen.snapshots)(engine, chosen.seed)
        for at in range(chosen.rounds):
            try:
                killing.round()
            except BaseException as error:
                error.add_note(f"in round {at} of seed {chosen.seed}")
                raise
        killing.end()
    shutil.rmtree(root.parent)
    for what, count in sorted(killing.killed.items()):
        print(f"{count:5} {what}")
    print(f"{chosen.rounds} kills in {time.monotonic() - began:.0f} s; nothing was left")


if __name__ == "__main__":
    main()
