"""From `create` to `rm`: what a container is doing, and who may end it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import processes_naming, wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

TRAPS = "trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 0.05; done"


def state(engine: Engine, name: str) -> str:
    return engine("ps", "-a", "--filter", f"name={name}", "--format", "{{.State}}").strip()


def status(engine: Engine, name: str) -> str:
    return engine("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").strip()


def start(engine: Engine, name: str, script: str, *options: str) -> None:
    engine("run", "-d", "--name", name, *options, "small:1", "sh", "-c", script)


def wait_for_output(engine: Engine, name: str, text: str) -> None:
    wait_until(lambda: text in engine("logs", name), f"{name} to say {text}")


def facts(engine: Engine, name: str) -> dict[str, int]:
    ident = engine("ps", "-aq", "--no-trunc", "--filter", f"name={name}").strip()
    found: dict[str, int] = json.loads((engine.containers / ident / "state.json").read_text())
    return found


def test_a_life(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1", "sh", "-c", TRAPS)
    assert status(engine, "one") == "Created"
    assert engine("ps", "-q") == ""

    assert engine("start", "one") == "one\n"
    assert status(engine, "one").startswith("Up ")
    assert engine("start", "one") == "one\n"  # nothing to do
    wait_for_output(engine, "one", "ready")

    assert engine("stop", "one") == "one\n"
    assert status(engine, "one").startswith("Exited (5)")
    assert engine("stop", "one") == "one\n"
    assert engine("wait", "one") == "5\n"
    assert engine("rm", "one") == "one\n"
    assert engine("ps", "-aq") == ""


@AS_ROOT
def test_what_does_not_stop_is_killed(engine: Engine) -> None:
    start(engine, "one", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_output(engine, "one", "ready")

    engine("stop", "-t", "0", "one")

    assert status(engine, "one").startswith("Exited (137)")


@AS_ROOT
def test_a_signal_of_ones_own(engine: Engine) -> None:
    start(engine, "one", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done")
    wait_for_output(engine, "one", "ready")

    engine("kill", "--signal", "usr1", "one")

    assert engine("wait", "one") == "7\n"
    assert engine.refusal("kill", "one") == (1, "one: the container is not running")
    assert engine.refusal("kill", "-s", "NOSUCH", "one")[0] == 1


@AS_ROOT
def test_waiting_ends_with_the_container(engine: Engine) -> None:
    start(engine, "one", "while [ ! -e /go ]; do sleep 0.05; done; exit 9", "-v", "vol:/v")
    with subprocess.Popen(
        engine.argv("wait", "one"), env=engine.environment, stdout=subprocess.PIPE, text=True
    ) as waiting:
        engine("kill", "one")
        assert waiting.communicate(timeout=20)[0] == "137\n"


@AS_ROOT
def test_what_has_been_waited_for_can_be_removed(engine: Engine) -> None:
    for number in range(3):
        start(engine, f"one{number}", "true")
    for number in range(3):
        engine("wait", f"one{number}")
        engine("rm", f"one{number}")


def test_signals_of_the_foreground_are_the_commands(engine: Engine) -> None:
    with subprocess.Popen(
        engine.argv("run", "--rm", "small:1", "sh", "-c", TRAPS),
        env=engine.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "ended\n"
    assert process.returncode == 5
    assert engine("ps", "-aq") == ""


@AS_ROOT
def test_attaching_shows_what_comes_and_gives_the_exit_code(engine: Engine) -> None:
    start(engine, "one", "read x; echo got $x; exit 4", "-i")

    done = engine.attempt("attach", "one", typed="word\n")

    assert (done.returncode, done.stdout) == (4, "got word\n")
    assert engine.refusal("attach", "one") == (1, "one: the container is not running")


def test_a_container_outlives_its_command_line(engine: Engine) -> None:
    with subprocess.Popen(
        engine.argv("run", "--name", "one", "small:1", "sh", "-c", TRAPS),
        env=engine.environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)

    assert state(engine, "one") == "running"
    engine("stop", "one")
    assert engine("logs", "one") == "ready\nended\n"


@pytest.mark.parametrize("victim", ["monitor", "daemon", "first process"])
def test_whatever_is_killed_nothing_is_left(engine: Engine, victim: str) -> None:
    start(engine, "one", f"sleep 4{os.getpid()} & wait", "-u", "33" if not engine.is_user else "0")
    known = facts(engine, "one")
    monitor = known["monitor_pid"]
    pids = {"monitor": monitor, "first process": known["pid"], "daemon": daemon_of(monitor)}

    os.kill(pids[victim], signal.SIGKILL)

    wait_until(lambda: state(engine, "one") == "exited", "the container to be exited")
    wait_until(lambda: not processes_naming(f"4{os.getpid()}"), "its processes to end")
    assert status(engine, "one").startswith("Exited (137)")
    assert engine("start", "one") == "one\n"
    assert state(engine, "one") == "running"


def daemon_of(monitor: int) -> int:
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    [found] = [int(pid) for pid in children if "/dev/fuse" in _opened(int(pid))]
    return found


def _opened(pid: int) -> set[str]:
    return {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}


@AS_ROOT
@pytest.mark.parametrize(
    ("policy", "script", "restarts"),
    [("on-failure:2", "echo x; exit 1", 2), ("on-failure", "echo x", 0), ("no", "exit 1", 0)],
)
def test_restarting(engine: Engine, policy: str, script: str, restarts: int) -> None:
    engine.attempt("run", "--name", "one", f"--restart={policy}", "small:1", "sh", "-c", script)

    assert facts(engine, "one")["restarts"] == restarts
    assert state(engine, "one") == "exited"


@AS_ROOT
def test_what_always_restarts_can_be_stopped(engine: Engine) -> None:
    start(engine, "one", "echo x", "--restart=always")
    wait_until(lambda: engine("logs", "one").count("x") >= 3, "two restarts", seconds=20)

    engine("stop", "-t", "1", "one")

    assert state(engine, "one") == "exited"


@AS_ROOT
def test_names(engine: Engine) -> None:
    ident = engine("create", "--name", "one", "small:1").strip()

    code, said = engine.refusal("create", "--name", "one", "small:1")
    assert (code, said) == (
        125,
        f"one: container {ident[:12]} has this name (remove or rename it)",
    )
    assert engine("rm", ident[:12]) == f"{ident[:12]}\n"
    assert engine.refusal("rm", "one") == (1, "one: no such container")
    assert engine.attempt("rm", "-f", "one").returncode == 0


@AS_ROOT
def test_what_runs_is_removed_only_by_force(engine: Engine) -> None:
    start(engine, "one", TRAPS)

    code, said = engine.refusal("rm", "one")
    assert (code, said.partition(":")[0]) == (1, "one")
    assert engine("rm", "-f", "one") == "one\n"


def test_anonymous_volumes_go_with_their_container_where_asked(engine: Engine) -> None:
    volumes = engine.directory / "data/overlayfs-py/volumes"
    engine("run", "--rm", "-v", "/data", "small:1", "touch", "/data/x")
    assert not volumes.exists() or os.listdir(volumes) == []

    engine("create", "--name", "one", "-v", "/data", "-v", "named:/named", "small:1")
    engine("rm", "-v", "one")

    assert os.listdir(volumes) == ["named"]


@AS_ROOT
def test_an_image_stays_for_its_containers(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1", "true")

    code, said = engine.refusal("rmi", "small:1")

    assert code == 35
    assert "container" in said


@AS_ROOT
def test_ps_says_what_docker_says(engine: Engine) -> None:
    engine("create", "--name", "one", "-l", "a=b", "small:1", "sh", "-c", "exit 0")

    head, row = engine("ps", "-a").splitlines()
    assert head.split("  ")[0] == "CONTAINER ID"
    names = ["ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert head.split()[1:] == names
    assert row.split()[1:5] == ["small:1", '"sh', "-c", "exit"]
    assert row.split()[-1] == "one"
    assert engine("ps", "-a", "--filter", "label=a=b", "--format", "{{.Names}}") == "one\n"
    assert engine("ps", "-a", "--filter", "label=a=c", "-q") == ""
    assert json.loads(engine("ps", "-a", "--json"))["State"] == "created"
    assert engine.refusal("ps", "--filter", "nosuch=1")[0] == 1


@AS_ROOT
def test_logs(engine: Engine) -> None:
    engine.attempt("run", "--name", "one", "small:1", "sh", "-c", "seq 5; echo e >&2; printf half")

    done = engine.attempt("logs", "one")
    assert (done.stdout, done.stderr) == ("1\n2\n3\n4\n5\nhalf", "e\n")
    assert engine.attempt("logs", "--tail", "2", "one").stdout == "half"
    assert engine("logs", "-f", "one") == "1\n2\n3\n4\n5\nhalf"
    assert re.match(r"[-0-9]{10}T[:0-9.]+Z 1\n", engine("logs", "-t", "one"))
    assert engine.attempt("logs", "--since", "10m", "one").stdout.startswith("1\n")
    assert engine("logs", "--until", "10m", "one") == ""
    assert engine.refusal("logs", "--since", "yesterday", "one")[0] == 1


@AS_ROOT
def test_following_ends_with_the_container(engine: Engine) -> None:
    start(
        engine, "one", "echo 1; while [ ! -e /v/go ]; do sleep 0.05; done; echo 2", "-v", "vol:/v"
    )
    with subprocess.Popen(
        engine.argv("logs", "-f", "one"), env=engine.environment, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "1\n"
        engine("run", "--rm", "-v", "vol:/v", "small:1", "touch", "/v/go")
        assert following.stdout.read() == "2\n"


@AS_ROOT
@pytest.mark.parametrize(
    "words", [["logs"], ["diff"], ["commit"], ["export"], ["start", "-a"], ["attach"], ["wait"]]
)
def test_a_container_that_is_not_there_is_1(engine: Engine, words: list[str]) -> None:
    assert engine.refusal(*words, "nosuch") == (1, "nosuch: no such container")
