"""Health checks, and what `ps` and `inspect` say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.life.users import AS_ROOT
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from tests.life.conftest import Engine

_STATUS = ("inspect", "-f", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}", "web")


def start(engine: Engine, line: str, *options: str) -> None:
    engine(
        *("run", "-d", "--name", "web", "--health-cmd", line, "--health-interval", "50ms"),
        *options,
        *("small:1", "sh", "-c", "while :; do sleep 0.05; done"),
    )


def wait_for(engine: Engine, status: str) -> None:
    wait_until(lambda: engine(*_STATUS).startswith(f"{status} "), f"it to be {status}")


def test_it_follows_the_check(engine: Engine) -> None:
    start(engine, "test -e /works", "--health-retries", "2")
    assert engine(*_STATUS).split()[0] in ("starting", "unhealthy")

    wait_for(engine, "unhealthy")
    assert "(unhealthy)" in engine("ps", "--format", "{{.Status}}")
    engine("exec", "web", "touch", "/works")
    wait_for(engine, "healthy")
    assert engine(*_STATUS) == "healthy 0\n"
    assert "(healthy)" in engine("ps", "--format", "{{.Status}}")
    engine("exec", "web", "rm", "/works")
    wait_for(engine, "unhealthy")


@AS_ROOT
def test_failures_of_the_start_do_not_count(engine: Engine) -> None:
    start(
        engine,
        "echo x >>/tries; test -e /works",
        *("--health-start-period", "1h", "--health-start-interval", "20ms"),
        *("--health-retries", "1"),
    )

    wait_until(lambda: _tries(engine) >= 3, "three checks")
    assert engine(*_STATUS) == "starting 0\n"
    assert "(health: starting)" in engine("ps", "--format", "{{.Status}}")
    engine("exec", "web", "touch", "/works")
    wait_for(engine, "healthy")


def _tries(engine: Engine) -> int:
    return engine.attempt("exec", "web", "cat", "/tries").stdout.count("x")


@AS_ROOT
def test_one_that_takes_too_long_has_failed(engine: Engine) -> None:
    start(engine, "sleep 1000", "--health-timeout", "50ms", "--health-retries", "1")

    wait_for(engine, "unhealthy")
    assert engine("stop", "-t", "0", "web") == "web\n"


@AS_ROOT
def test_an_option_that_makes_no_sense(engine: Engine) -> None:
    for words in (["--health-interval", "soon"], ["--no-healthcheck", "--health-cmd", "true"]):
        code, said = engine.refusal("run", "--rm", *words, "small:1", "true")
        assert code in (2, 125)
        assert words[0] in said
