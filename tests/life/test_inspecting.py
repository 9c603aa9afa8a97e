"""`inspect` of containers: docker's keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.life.conftest import Engine


def test_what_it_says(engine: Engine) -> None:
    engine(
        *("run", "-d", "--name", "web", "-e", "A=1", "-l", "a=b", "-v", "data:/data:ro"),
        *("small:1", "sh", "-c", "sleep 1000"),
    )

    [shown] = json.loads(engine("inspect", "web"))

    assert shown["Name"] == "/web"
    assert (shown["Path"], shown["Args"]) == ("sh", ["-c", "sleep 1000"])
    assert shown["State"]["Status"] == "running"
    assert (shown["State"]["Running"], shown["State"]["Paused"]) == (True, False)
    assert shown["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert "A=1" in shown["Config"]["Env"]
    assert shown["Config"]["Labels"] == {"a": "b"}
    [mount] = shown["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "data", "/data")
    assert mount["RW"] is False
    assert shown["Image"] == json.loads(engine("inspect", "--type=image", "small:1"))[0]["Id"]


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{.State.Status}} {{.State.ExitCode}}", "exited 3"),
        ("{{.Name}} {{.RestartCount}}", "/web 0"),
        ("{{json .Config.Cmd}}", '["sh","-c","exit 3"]'),
        ("{{range .Mounts}}{{.Source}}{{end}}", ""),
        ("{{len .ID}} {{len .Id}}", "64 64"),
    ],
)
def test_templates(engine: Engine, template: str, printed: str) -> None:
    engine.attempt("run", "--name", "web", "small:1", "sh", "-c", "exit 3")

    assert engine("inspect", "-f", template, "web") == f"{printed}\n"


def test_what_is_not_there(engine: Engine) -> None:
    engine("create", "--name", "web", "small:1")

    assert engine.refusal("inspect", "-f", "{{.State.Health.Status}}", "web")[0] == 1
    done = engine.attempt("inspect", "--type=container", "small:1")
    assert done.returncode == 1
    assert done.stderr == "overlayfs-py: small:1: no such container\n"
    assert json.loads(engine("container", "inspect", "web"))[0]["State"]["Status"] == "created"
    assert engine("inspect", "-f", "{{.Id}}", "web", "small:1").count("\n") == 2
