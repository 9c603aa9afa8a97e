"""What is done with containers from outside: restart, pause, rename, top, stats, prune."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

IDLE = "trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def web(engine: Engine) -> Engine:
    engine("run", "-d", "--name", "web", "small:1", "sh", "-c", IDLE)
    wait_until(lambda: "ready" in engine("logs", "web"), "it to be ready")
    return engine


def facts(engine: Engine, name: str) -> dict[str, int]:
    ident = engine("ps", "-aq", "--no-trunc", "--filter", f"name={name}").strip()
    found: dict[str, int] = json.loads((engine.containers / ident / "state.json").read_text())
    return found


def state(engine: Engine, name: str) -> str:
    return engine("ps", "-a", "--filter", f"name={name}", "--format", "{{.State}}").strip()


def test_a_restart_keeps_what_was_written(web: Engine) -> None:
    before = facts(web, "web")
    web("exec", "web", "touch", "/made")

    assert web("restart", "web") == "web\n"

    after = facts(web, "web")
    assert after["pid"] != before["pid"]
    assert after["monitor_pid"] == before["monitor_pid"]
    assert web("exec", "web", "ls", "/made") == "/made\n"
    assert web("logs", "web").startswith("ready\nended\n")
    web("stop", "web")
    assert state(web, "web") == "exited"
    web("restart", "web")
    assert state(web, "web") == "running"
    assert web.refusal("restart", "nosuch") == (1, "nosuch: no such container")


@AS_ROOT
def test_a_restart_kills_what_does_not_end(engine: Engine) -> None:
    script = "trap '' TERM; while :; do sleep 0.05; done"
    engine("run", "-d", "--rm", "--name", "web", "small:1", "sh", "-c", script)
    pid = facts(engine, "web")["pid"]

    engine("restart", "-t", "0", "web")

    assert facts(engine, "web")["pid"] != pid
    engine("kill", "web")
    wait_until(lambda: engine("ps", "-aq") == "", "it to be removed")


def test_what_is_paused_does_nothing(web: Engine) -> None:
    script = "while :; do echo x >>/count; sleep 0.02; done"
    web("exec", "-d", "web", "sh", "-c", script)

    assert web("pause", "web") == "web\n"

    assert state(web, "web") == "paused"
    assert "(Paused)" in web("ps", "--format", "{{.Status}}")
    assert set(_states(facts(web, "web")["pid"])) == {"T"}
    assert web.refusal("exec", "web", "true") == (1, "web: the container is paused")
    assert web.refusal("pause", "web") == (1, "web: the container is paused already")
    assert web("unpause", "web") == "web\n"
    assert state(web, "web") == "running"
    assert web.refusal("unpause", "web") == (1, "web: the container is not paused")
    counted = web("exec", "web", "wc", "-l", "/count")
    wait_until(lambda: web("exec", "web", "wc", "-l", "/count") != counted, "it to go on")


def _states(first: int) -> list[str]:
    namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "ns/pid").stat().st_ino == namespace:
                found.append((path / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return found


@pytest.mark.parametrize("words", [["stop"], ["kill"], ["rm", "-f"]])
def test_what_is_paused_can_be_ended(web: Engine, words: list[str]) -> None:
    web("pause", "web")

    assert web(*words, "web") == "web\n"

    wait_until(lambda: state(web, "web") in ("exited", ""), "its end")


@AS_ROOT
def test_another_name(web: Engine) -> None:
    web("create", "--name", "taken", "small:1")

    assert web("rename", "web", "other") == ""

    assert state(web, "other") == "running"
    assert web.refusal("exec", "web", "true") == (1, "web: no such container")
    assert web("exec", "other", "echo", "x") == "x\n"
    code, said = web.refusal("rename", "other", "taken")
    assert (code, said.partition(":")[0]) == (1, "taken")
    assert web.refusal("rename", "other", "-x")[0] != 0


@AS_ROOT
def test_top_lists_its_processes_alone(web: Engine) -> None:
    head, *rows = web("top", "web").splitlines()

    assert "PID" in head
    assert str(facts(web, "web")["pid"]) in {row.split()[1] for row in rows}
    assert all("sh -c" in row or "sleep" in row for row in rows)
    assert web("top", "web", "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    assert web.refusal("top", "web", "-o", "comm")[0] == 1
    web("kill", "web")
    web("wait", "web")
    assert web.refusal("top", "web") == (1, "web: the container is not running")


@AS_ROOT
def test_stats(web: Engine) -> None:
    head, row = web("stats", "--no-stream").splitlines()
    fields = json.loads(web("stats", "--no-stream", "--format", "json", "web"))

    assert head.startswith("CONTAINER ID")
    assert "web" in row
    assert fields["Name"] == "web"
    assert int(fields["PIDs"]) >= 1
    assert not fields["MemUsage"].startswith("0B")


@AS_ROOT
def test_pruning_leaves_what_runs(web: Engine) -> None:
    web("create", "--name", "one", "-l", "keep", "small:1")
    two = web("create", "--name", "two", "small:1").strip()

    shown = web("container", "prune", "-f", "--filter", "label!=keep")

    assert shown.splitlines()[:2] == ["Deleted Containers:", two]
    assert "Total reclaimed space: " in shown
    assert {*web("container", "ls", "-a", "--format", "{{.Names}}").split()} == {"web", "one"}
    assert web.refusal("container", "prune", "-f", "--filter", "dangling=true")[0] == 1
