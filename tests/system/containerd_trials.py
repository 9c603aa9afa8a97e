"""containerd itself with our snapshots: what `ctr` does, and kills at random moments.

    python -m tests.system.containerd_trials [--containerd DIR] [--kills N] [--seed N]

Needs root and a mount namespace of its own: see scripts/try-snapshotter.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.docker_registry import docker_registry
from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_BIN = Path(sys.executable).parent
_NAME = "overlayfs-py"
_CONFIG = """
version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{home}/containerd.sock"
[proxy_plugins."overlayfs-py"]
  type = "snapshot"
  address = "{home}/snapshotter.sock"
"""
_CONFIG_2 = """
  capabilities = ["rebase", "remap-ids"]
[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_unpacks = 3
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux/amd64"
    snapshotter = "overlayfs-py"
"""
_DOCKERFILE = """
FROM base:1
COPY more /more
RUN rm /etc/gone && mv /opt /moved && echo changed >/etc/kept
"""
_DEADLINE_S = 300


@dataclass
class Machine:
    """A containerd with a snapshotter of ours, and a registry that has an image of three layers."""

    home: Path
    registry: str
    programs: Path | None  # containerd 2's; None: Debian's
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def image(self) -> str:
        return f"{self.registry}/app:1"

    def start(self, name: str) -> None:
        command: dict[str, list[str | Path]] = {
            "snapshotter": [
                *(
                    _BIN / "overlayfs-py",
                    "snapshotter",
                    "--address",
                    self.home / "snapshotter.sock",
                ),
                *("--root", self.home / "snapshots"),
            ],
            "containerd": [self._program("containerd"), "--config", self.home / "config.toml"],
        }
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(_DEADLINE_S)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.end("snapshotter", how)
        self.start("snapshotter")
        self.wait_for_both()

    def wait_for_both(self) -> None:
        """Wait until containerd has found the snapshotter, which it tries every 3 s at most."""
        words = ("snapshots", "--snapshotter", _NAME)
        probe = ("prepare", "probe")  # what containerd cannot answer by itself
        wait_until(
            lambda: self.ctr(*words, *probe, works=False).returncode == 0, "both", seconds=60
        )
        self.snapshots("rm", "probe")

    def ctr(self, *words: str | Path, works: bool = True) -> subprocess.CompletedProcess[str]:
        command = [self._program("ctr"), "--address", self.home / "containerd.sock", *words]
        done = attempt(command, env=self._env, timeout=_DEADLINE_S)
        if works and done.returncode:
            raise AssertionError(f"ctr {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done

    def snapshots(self, *words: str | Path) -> str:
        return self.ctr("snapshots", "--snapshotter", _NAME, *words).stdout

    def run(self, *words: str, works: bool = True) -> str:
        # Debian's crun knows no bundles of containerd 2's.
        runtime = "crun" if self.programs is None else "runc"
        options = ("--snapshotter", _NAME, "--runc-binary", runtime)
        return self.ctr("run", *options, *words, works=works).stdout

    def names(self) -> list[str]:
        return [line.split()[0] for line in self.snapshots("ls").splitlines()[1:]]

    def directories(self) -> list[str]:
        return sorted(os.listdir(self.home / "snapshots/snapshots"))

    def left_mounted(self) -> list[str]:
        return [f"{each.target} {each.kind}" for each in mounts_below(self.home)]

    def _program(self, name: str) -> Path | str:
        return name if self.programs is None else self.programs / name

    @property
    def _env(self) -> dict[str, str]:
        path = (
            os.environ["PATH"] if self.programs is None else f"{self.programs}:{os.environ['PATH']}"
        )
        return {**os.environ, "PATH": path, "TMPDIR": str(self.home)}


@contextmanager
def machine(programs: Path | None) -> Iterator[Machine]:
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="try-snapshotter-"))
        stack.callback(shutil.rmtree, home)
        registry = stack.enter_context(docker_registry(home / "registry"))
        _push_image(home, registry.domain)
        (home / "config.toml").write_text(
            _CONFIG.format(home=home) + ("" if programs is None else _CONFIG_2)
        )
        made = Machine(home, registry.domain, programs)
        stack.callback(_clear, made)
        made.start("snapshotter")
        made.start("containerd")
        made.wait_for_both()
        try:
            yield made
        except BaseException:
            for log in sorted(home.glob("*.log")):
                print(f"{log.name}:", log.read_text()[-4000:], sep="\n", file=sys.stderr)
            raise


def _push_image(home: Path, registry: str) -> None:
    root = home / "image"
    for name in ("bin", "etc", "opt/deep"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for name in ("cat", "echo", "ls", "mv", "rm", "sh", "sleep", "grep", "sync"):
        (root / "bin" / name).symlink_to("busybox")
    for name in ("etc/gone", "etc/kept", "opt/deep/file"):
        (root / name).write_text("base\n")
    (root / "Dockerfile").write_text(_DOCKERFILE)
    (root / "more").write_text("more\n")
    store = ("--root", home / "store")
    command = _BIN / "overlayfs-py"
    run([command, "import", *store, root, "base:1"])
    run([command, "build", *store, "--tag", f"{registry}/app:1", root])
    run([command, "push", *store, "--tls-verify=false", f"{registry}/app:1"])
    shutil.rmtree(root)


def _clear(made: Machine) -> None:
    for name in list(made.processes):
        made.end(name, signal.SIGKILL)
    for pid in processes_naming(str(made.home)):
        with suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    for mount in reversed(mounts_below(made.home)):
        attempt(["umount", "--lazy", mount.target])


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def use(made: Machine) -> None:
    """What people do with `ctr`, the snapshotter restarted between all of it."""
    say(made.ctr("version").stdout.split()[2] if made.programs is None else "containerd 2")
    made.ctr("images", "pull", "--plain-http", "--snapshotter", _NAME, made.image)
    chain = made.names()
    assert len(chain) == 3, chain
    say(f"pulled: {len(chain)} snapshots, {made.snapshots('usage').count('sha256')} with usage")
    made.restart()
    shown = made.run(
        "--rm", made.image, "one", "sh", "-c", "cat /etc/kept /moved/deep/file; ls /etc"
    )
    assert shown.split() == ["changed", "base", "kept"], shown
    say("run --rm: the layers are merged")
    made.run(
        *("-d", made.image, "two", "sh", "-c"),
        "echo new >/etc/new; rm /etc/kept; mv /moved /again; sleep 1000",
    )
    wait_until(lambda: "again" in _listed(made, "two", "/"), "the container's work")
    made.restart()
    assert "new" in _listed(made, "two", "/etc")
    changes = _diff(made, "two")
    assert {"etc/new", "etc/.wh.kept", "again/deep/file", ".wh.moved"} <= changes, changes
    say(f"exec and diff of a running container: {len(changes)} names")
    made.restart()
    made.ctr("tasks", "kill", "--signal", "KILL", "two")
    wait_until(lambda: "STOPPED" in made.ctr("tasks", "ls").stdout, "the container's end")
    made.ctr("tasks", "rm", "two")
    made.ctr("containers", "rm", "two")
    _commit(made, chain)
    made.ctr("images", "tag", made.image, f"{made.registry}/again:1")
    made.ctr("images", "push", "--plain-http", f"{made.registry}/again:1")
    made.restart()
    made.ctr("images", "rm", "--sync", made.image, f"{made.registry}/again:1")
    wait_until(lambda: made.directories() == [], "the removal of snapshots", seconds=30)
    assert made.left_mounted() == []
    say("pushed, images removed: nothing is left, and nothing mounted")


def _listed(made: Machine, container: str, path: str) -> str:
    words = ("tasks", "exec", "--exec-id", f"look{random.random()}", container, "ls", path)
    return made.ctr(*words, works=False).stdout


def _diff(made: Machine, container: str) -> set[str]:
    file = made.home / "changes.tar"
    command = [
        *(made._program("ctr"), "--address", made.home / "containerd.sock", "snapshots"),
        *("--snapshotter", _NAME, "diff", container),
    ]
    with file.open("wb") as out:
        subprocess.run(command, check=True, stdout=out, env=made._env)
    raw = file.read_bytes()
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {name.rstrip("/") for name in tar.getnames()}


def _commit(made: Machine, chain: list[str]) -> None:
    (top,) = [
        name
        for name in chain
        if not any(line.split()[1:2] == [name] for line in made.snapshots("ls").splitlines())
    ][:1]
    made.snapshots("prepare", "work", top)
    place = made.home / "work"
    place.mkdir()
    _mount(made, "work", place)
    (place / "committed").write_text("yes\n")
    run(["umount", place])
    made.snapshots("commit", "result", "work")
    made.restart()
    made.snapshots("prepare", "look", "result")  # a view of ctr's is collected at any time
    _mount(made, "look", place)
    assert (place / "committed").read_text() == "yes\n"
    assert (place / "etc/kept").read_text() == "changed\n"
    run(["umount", place])
    made.snapshots("rm", "look")
    made.snapshots("rm", "result")
    say("prepared, mounted, committed, viewed")


def _mount(made: Machine, key: str, place: Path) -> None:
    """Mount a snapshot. `ctr` prints a command of mount(8), which knows no `fuse3.`."""
    _, _, kind, source, target, _, options = made.snapshots("mounts", place, key).split()
    run(["mount.fuse3", source, target, "-o", options, "-t", kind.removeprefix("fuse3.")])


def kill(made: Machine, rounds: int, seed: int) -> None:
    """Kill the snapshotter or a mount's daemon in the middle of work; all has to go on after it."""
    chance = random.Random(seed)
    made.ctr("images", "pull", "--plain-http", "--snapshotter", _NAME, made.image)
    chain = sorted(made.names())
    made.run("-d", made.image, "keeper", "sh", "-c", "echo kept >/kept; sync; sleep 10000")
    wait_until(lambda: "kept" in _listed(made, "keeper", "/kept"), "the keeper")
    for number in range(rounds):
        what = chance.choice(("snapshotter", "daemon"))
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, "--work", made.home, f"{number}-{each}"]
                + ([] if made.programs is None else ["--containerd", made.programs]),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "REGISTRY": made.registry},
            )
            for each in range(2)
        ]
        time.sleep(chance.uniform(0.1, 4))
        killed = _kill(made, what, chance)
        told = [each.communicate(timeout=4 * _DEADLINE_S)[0].decode().split() for each in workers]
        acknowledged = [name for names in told for name in names]
        missing = set(acknowledged) - set(made.names())
        assert not missing, missing
        _require_order(made, chain, number)
        say(f"round {number + 1}: {killed}; {len(acknowledged)} new snapshots, all there")
    made.ctr("tasks", "kill", "--signal", "KILL", "keeper")
    wait_until(lambda: "STOPPED" in made.ctr("tasks", "ls").stdout, "the keeper's end")
    made.ctr("tasks", "rm", "keeper")
    place = made.home / "kept"
    place.mkdir()
    _mount(made, "keeper", place)
    assert (place / "kept").read_text() == "kept\n"
    run(["umount", place])
    made.ctr("containers", "rm", "keeper")
    made.ctr("images", "rm", "--sync", made.image)
    wait_until(lambda: made.directories() == [], "the removal of snapshots", seconds=30)
    assert made.left_mounted() == []
    say(f"{rounds} kills: no snapshot lost, no mount left over")


def _kill(made: Machine, what: str, chance: random.Random) -> str:
    if what == "snapshotter":
        made.restart(signal.SIGKILL)
        return "the snapshotter"
    deadline = time.monotonic() + 10
    while not (daemons := _daemons(made)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not daemons:
        return "nobody: no daemon ran"
    try:
        os.kill(chance.choice(daemons), signal.SIGKILL)
    except ProcessLookupError:
        return "nobody: the daemon had ended"
    return f"one of {len(daemons)} daemons"


def _daemons(made: Machine) -> list[int]:
    return sorted(
        pid
        for pid, words in processes_naming(f"{made.home}/snapshots").items()
        if len(words) > 1 and words[1].endswith("/fuse-overlayfs-py")
    )


def _require_order(made: Machine, chain: list[str], number: int) -> None:
    """Every snapshot is there, the image runs, and what the rounds have made can be removed."""
    for name in made.ctr("tasks", "ls", "-q").stdout.split():
        if name != "keeper":
            made.ctr("tasks", "kill", "--signal", "KILL", name, works=False)
            made.ctr("tasks", "rm", "--force", name, works=False)
    for name in made.ctr("containers", "ls", "-q").stdout.split():
        if name != "keeper":
            made.ctr("containers", "rm", name)
    for name in made.names():
        if name.startswith("work"):
            made.snapshots("rm", name)
    assert set(made.names()) == {*chain, "keeper"}, made.names()
    shown = made.run("--rm", made.image, f"after{number}", "cat", "/etc/kept")
    assert shown == "changed\n", shown
    made.ctr("content", "prune", "references", works=False)
    mounts = [line for line in made.left_mounted() if "fuse" in line]
    assert len(mounts) <= 1, mounts  # the keeper's, if its daemon was not the one


def work(made: Machine, tag: str) -> None:
    """Run containers, or make snapshots, whatever of it fails; print what was acknowledged."""
    if tag.endswith("0"):
        undo = "echo x >/x; rm /etc/kept"
        made.run("--rm", made.image, f"one-{tag}", "sh", "-c", undo, works=False)
        made.run("-d", made.image, f"two-{tag}", "sleep", "3", works=False)
        return
    snapshots = ("snapshots", "--snapshotter", _NAME)
    for number in range(15):
        name, layer = f"work-{tag}-{number}", f"work-{tag}-{number}-done"
        if made.ctr(*snapshots, "prepare", name, works=False).returncode:
            time.sleep(0.3)  # until containerd has found the snapshotter again
        # After a commit that failed containerd itself cannot know under which name it is.
        elif made.ctr(*snapshots, "commit", layer, name, works=False).returncode == 0:
            print(layer)


def crowd(made: Machine, count: int) -> None:
    """Run many containers of one image; say what their daemons take, and how long starts take."""
    made.ctr("images", "pull", "--plain-http", "--snapshotter", _NAME, made.image)
    seconds = []
    for number in range(count):
        began = time.monotonic()
        made.run("-d", made.image, f"one{number}", "sleep", "10000")
        seconds.append(time.monotonic() - began)
    daemons = _daemons(made)
    assert len(daemons) == count
    shares = [_pss(pid) for pid in daemons]
    first, last = (statistics.median(part) for part in (seconds[:10], seconds[-10:]))
    say(
        f"{count} containers: {sum(shares) / 1024:.0f} MiB of daemons,"
        f" {sum(shares) / count / 1024:.1f} MiB each;"
        f" the first ten starts took {first:.2f} s, the last ten {last:.2f} s"
    )


def _pss(pid: int) -> int:
    """A process's memory in KiB, what it shares with others by its part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--containerd", type=Path, help="containerd 2's programs; Debian's if none")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--crowd", type=int, help="so many containers at once, and nothing else")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        home, tag = given.work
        work(Machine(Path(home), os.environ["REGISTRY"], given.containerd), tag)
        return
    with machine(given.containerd) as made:
        if given.crowd is not None:
            crowd(made, given.crowd)
            return
        use(made)
        kill(made, given.kills, given.seed)


if __name__ == "__main__":
    main()
