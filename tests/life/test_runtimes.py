"""Containers that an OCI runtime starts: the same life, and the same answers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_CGROUPS = Path("/sys/fs/cgroup")
# Each user and each runtime, once.
_RUNTIMES = pytest.mark.parametrize(
    ("_engine", "runtime"), [("root", "crun"), ("user", "runc")], indirect=["_engine"]
)
_AS_ROOT = pytest.mark.parametrize(
    ("_engine", "runtime"), [("root", "crun"), ("root", "runc")], indirect=["_engine"]
)

_OPTIONS = {
    "--read-only": ("touch /etc/x 2>&1", "touch: /etc/x: Read-only file system"),
    "-v/etc/passwd:/etc/own:ro": ("head -n 1 /etc/own | cut -d: -f1", "root"),
    "-vdata:/data": ("touch /data/x && ls /data", "x"),
    "--tmpfs=/t:size=1m,mode=700": ("stat -c %a /t; df /t | grep -c 1024", "700 1"),
    "--network=none": ("ls /sys/class/net", "lo"),
    "--sysctl=net.ipv4.ip_default_ttl=33": ("cat /proc/sys/net/ipv4/ip_default_ttl", "33"),
    "--ipc=none": ("test -e /dev/shm || echo none", "none"),
    "--hostname=web": ("hostname; grep -c web /etc/hosts", "web 1"),
    "--device=/dev/zero:/dev/own": ("head -c 3 /dev/own | wc -c", "3"),
    "--cap-drop=CHOWN": ("grep CapBnd /proc/self/status", "CapBnd: 00000000a80425fa"),
    "--ulimit=nofile=100:200": ("ulimit -n", "100"),
    "--env=A=b": ("echo $A $HOME", "b /root"),
    "--workdir=/tmp": ("pwd", "/tmp"),
    "--oom-score-adj=300": ("cat /proc/self/oom_score_adj", "300"),
    "--pull=never": ("grep -E 'NoNew|Seccomp:' /proc/self/status", "NoNewPrivs: 1 Seccomp: 2"),
}


@pytest.mark.parametrize(
    ("_engine", "runtime"),
    [("root", "embedded"), ("root", "crun"), ("root", "runc"), ("user", "crun")],
    indirect=["_engine"],
)
def test_options_do_what_they_say(engine: Engine, runtime: str) -> None:
    script = "; ".join(line for line, _ in _OPTIONS.values())

    done = engine.attempt(
        "run", "--rm", "--runtime", runtime, *_OPTIONS, "small:1", "sh", "-c", script
    )

    assert done.stderr == ""
    assert done.stdout.split() == [word for _, shown in _OPTIONS.values() for word in shown.split()]


@_RUNTIMES
def test_a_whole_life(engine: Engine, runtime: str) -> None:
    line = "trap 'echo told; exit 7' TERM; echo begun; while :; do sleep 0.1; done"
    engine("run", "-d", "--name", "web", "--runtime", runtime, "small:1", "sh", "-c", line)
    wait_until(lambda: engine("logs", "web") == "begun\n", "its first line")

    done = engine.attempt("exec", "web", "sh", "-c", "echo $PPID; ps | grep -c sleep; exit 5")
    assert (done.returncode, done.stdout.split()[0]) == (5, "0")
    engine("pause", "web")
    assert "(Paused)" in engine("ps")
    engine("unpause", "web")
    assert "trap" in engine("top", "web")
    engine("stop", "web")
    (shown,) = json.loads(engine("inspect", "web"))
    assert shown["State"]["ExitCode"] == 7
    assert shown["HostConfig"]["Runtime"] == runtime
    assert engine("logs", "web") == "begun\ntold\n"
    engine("start", "web")
    engine("kill", "web")
    assert engine("wait", "web") == "137\n"
    assert list(_CGROUPS.glob(f"*/overlayfs-py/{shown['Id']}")) == []


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_terminal(engine: Engine, runtime: str) -> None:
    done = engine.attempt("run", "--rm", "-t", "--runtime", runtime, "small:1", "tty")

    assert (done.returncode, done.stdout) == (0, "/dev/pts/0\r\n")


@_RUNTIMES
def test_what_cannot_be_run(engine: Engine, runtime: str) -> None:
    def refusal(*words: str) -> tuple[int, str]:
        return engine.refusal("run", "--rm", "--runtime", runtime, *words)

    assert refusal("small:1", "nosuch") == (127, "nosuch: No such file or directory")
    assert refusal("small:1", "/etc/passwd") == (126, "/etc/passwd: Permission denied")
    assert refusal("small:1", "/etc") == (126, "/etc: Permission denied")
    assert refusal("-u", "nosuch", "small:1", "true") == (
        125,
        "user nosuch: not in the image's /etc/passwd",
    )


@AS_ROOT
def test_a_runtime_that_is_not_there(engine: Engine) -> None:
    for text in ("nosuch", "/etc/passwd", "/etc"):
        assert engine.refusal("run", "--rm", "--runtime", text, "small:1", "true") == (
            125,
            f"--runtime: {text}: it is not installed, or not to be executed",
        )


@pytest.mark.parametrize(
    ("_engine", "runtime", "victim"),
    [
        ("root", "runc", "monitor"),
        ("user", "crun", "monitor"),
        ("user", "crun", "keeper"),
        ("root", "crun", "daemon"),
    ],
    indirect=["_engine"],
)
def test_nothing_is_left_after_a_kill(engine: Engine, runtime: str, victim: str) -> None:
    options = ("-d", "--name", "web", "--runtime", runtime)
    ident = engine("run", *options, "small:1", "sleep", "1000").strip()
    state = json.loads((engine.containers / ident / "state.json").read_text())
    monitor, first = state["monitor_pid"], state["pid"]
    keeper = parent_of(first)
    (daemon,) = set(children_of(monitor)) - {keeper}

    os.kill({"monitor": monitor, "keeper": keeper, "daemon": daemon}[victim], signal.SIGKILL)

    for pid in (monitor, keeper, first, daemon):
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "all ends")
    # Without its files the command may get a signal before the monitor's comes.
    assert "Exited (13" in engine("ps", "-a")
    assert list(_CGROUPS.glob(f"*/overlayfs-py/{ident}")) == []


@_AS_ROOT
def test_devices_of_the_host_are_out_of_reach(engine: Engine, runtime: str) -> None:
    line = "busybox mknod /disk b 7 0 && dd if=/disk of=/dev/null count=1"

    done = engine.attempt("run", "--rm", "--runtime", runtime, "small:1", "sh", "-c", line)

    assert done.returncode == 1
    assert "can't open '/disk'" in done.stderr


@_AS_ROOT
def test_limits(engine: Engine, runtime: str) -> None:
    options = ("--runtime", runtime, "--name", "big", "-m", "20m")
    line = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"

    assert engine.attempt("run", *options, "small:1", "sh", "-c", line).returncode == 137
    assert json.loads(engine("inspect", "big"))[0]["State"]["OOMKilled"] is True


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
