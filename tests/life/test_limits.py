"""What a container may use of the machine: its own cgroup, from its start to its removal."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT, AS_USER
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_CGROUPS = Path("/sys/fs/cgroup")


def cgroups_of(ident: str) -> list[Path]:
    return sorted(_CGROUPS.glob(f"**/overlayfs-py/{ident.strip()}"))


@AS_ROOT
def test_each_limit_is_set(engine: Engine) -> None:
    options = ("-m", "20m", "--memory-swap", "30m", "--cpus", "0.5", "--pids-limit", "7")
    ident = engine("run", "-d", "--name", "web", *options, "small:1", "sleep", "1000")

    found = {
        file.name: file.read_text().strip()
        for path in cgroups_of(ident)
        for file in path.iterdir()
        if file.name
        in {"pids.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"}
    }
    assert found == {
        "pids.max": "7",
        "memory.limit_in_bytes": str(20 << 20),
        "memory.memsw.limit_in_bytes": str(30 << 20),
        "cpu.cfs_quota_us": "50000",
    }
    within = engine("exec", "web", "cat", "/proc/1/cgroup", "/proc/self/cgroup")
    assert within.count(f":memory:/overlayfs-py/{ident.strip()}\n") == 2
    host = json.loads(engine("inspect", "web"))[0]["HostConfig"]
    assert host["Memory"] == 20 << 20
    assert host["MemorySwap"] == 30 << 20
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 7
    shown = engine("stats", "--no-stream", "--format", "{{.MemUsage}}", "web")
    assert shown.endswith(" / 20MiB\n")
    engine("rm", "-f", "web")
    assert cgroups_of(ident) == []


@AS_ROOT
def test_want_of_memory_is_reported(engine: Engine) -> None:
    line = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"

    done = engine.attempt("run", "--name", "big", "-m", "20m", "small:1", "sh", "-c", line)

    assert done.returncode == 137
    (shown,) = json.loads(engine("inspect", "big"))
    assert shown["State"]["OOMKilled"] is True
    assert cgroups_of(shown["Id"]) == []
    engine.attempt("run", "--name", "small", "-m", "20m", "small:1", "sh", "-c", "kill -9 $$")
    assert json.loads(engine("inspect", "small"))[0]["State"]["OOMKilled"] is False


@AS_ROOT
def test_no_more_processes_than_allowed(engine: Engine) -> None:
    options = ("--rm", "--pids-limit", "3")
    line = "sleep 9 & sleep 9 & sleep 9 & sleep 9 & echo all"

    done = engine.attempt("run", *options, "small:1", "sh", "-c", line)

    assert "can't fork" in done.stderr
    assert done.stdout == ""


@AS_ROOT
def test_the_next_command_removes_what_a_killed_monitor_left(engine: Engine) -> None:
    ident = engine("run", "-d", "--name", "web", "-m", "20m", "small:1", "sleep", "1000").strip()
    state = json.loads((engine.containers / ident / "state.json").read_text())
    assert cgroups_of(ident)

    os.kill(state["monitor_pid"], signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{state['monitor_pid']}").exists(), "the monitor's end")

    assert "Exited (137)" in engine("ps", "-a")
    assert cgroups_of(ident) == []
    engine("start", "web")
    assert cgroups_of(ident)


@AS_USER
def test_a_user_who_may_make_none_hears_what_helps(engine: Engine) -> None:
    assert engine.refusal("run", "--rm", "--memory", "20m", "small:1", "true") == (
        125,
        "--memory: this user may not make cgroups here: as root, or where systemd is:"
        " `systemd-run --user --scope overlayfs-py run ...`",
    )


@AS_ROOT
@pytest.mark.parametrize(
    "words",
    [
        ["--memory", "much"],
        ["--memory", "1m"],
        ["--memory-swap", "20m"],
        ["--cpus", "0.001"],
        ["--cpus", "4096"],
        ["--cpus", "-1"],
    ],
)
def test_what_makes_no_sense_is_refused_by_name(engine: Engine, words: list[str]) -> None:
    code, said = engine.refusal("run", "--rm", *words, "small:1", "true")

    assert code in (2, 125)
    assert words[0] in said
