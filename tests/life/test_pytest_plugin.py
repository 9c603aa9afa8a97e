"""pytest with our fixtures: each test has a fresh root; whatever ends pytest, nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.mount_table import mounts_below
from tests.system.processes import wait_until
from tests.system.unprivileged import as_user

if TYPE_CHECKING:
    from tests.life.conftest import Engine

PLUGIN = "overlayfs_py.pytest_plugin"

FRESH = """
    import os, pytest

    pytestmark = pytest.mark.image("small:1")
    places = set()

    @pytest.mark.parametrize("number", range(4))
    def test_it_is_fresh(rootfs, number):
        places.add(rootfs)
        assert len(places) == 1
        assert not (rootfs / "etc/new").exists()
        assert (rootfs / "home/data/kept").read_text() == "kept\\n"
        (rootfs / "etc/new").touch()
        (rootfs / "home/data/kept").write_text("changed\\n")
        (rootfs / "bin/sh").unlink()

    def test_what_is_still_open_is_no_hindrance(rootfs):
        os.chdir(rootfs / "etc")

    def test_what_was_open_is_no_hindrance(rootfs):
        os.chdir("/")
        assert (rootfs / "bin/sh").exists()
"""
CONTAINERS = """
    import pytest

    @pytest.mark.image("small:1", command="echo $WORD; sleep 100", env={"WORD": "ready"})
    def test_marked(container):
        container.wait_for("ready", timeout=30)
        (container.fs / "etc/new").write_text("x")
        assert container.exec(["cat", "/etc/new"]).stdout == "x"

    @pytest.mark.image("small:1", command="sleep 100")
    def test_it_goes_back(container):
        container.snapshot("begun")
        (container.fs / "etc/new").write_text("x")
        container.restore("begun")
        assert not (container.fs / "etc/new").exists()

    def test_started(run_container, run_session_container, rootfs):
        one = run_container("small:1", ["sleep", "100"])
        assert not (one.fs / "etc/new").exists()
        assert run_session_container("small:1", ["true"]).wait() == 0
"""


def pytest_argv(engine: Engine, suite: str, *options: str) -> list[str]:
    directory = engine.directory / "suite"
    directory.mkdir(exist_ok=True)
    (directory / "test_suite.py").write_text(textwrap.dedent(suite))
    (directory / "pytest.ini").write_text("[pytest]\noverlayfs_image = small:1\n")
    argv = [sys.executable, "-B", "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider"]
    argv += [
        "-W",
        "error",
        "--strict-markers",
        f"--basetemp={directory}-tmp",
        *options,
        str(directory),
    ]
    return as_user(argv) if engine.is_user else argv


def run_pytest(
    engine: Engine, suite: str, *options: str, **outcome: int
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        pytest_argv(engine, suite, *options),
        env=engine.environment,
        cwd=engine.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for kind, count in outcome.items():
        assert f"{count} {kind}" in done.stdout, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_each_test_has_a_fresh_root(engine: Engine, options: list[str]) -> None:
    run_pytest(engine, FRESH, *options, passed=6)


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_containers(engine: Engine, options: list[str]) -> None:
    run_pytest(engine, CONTAINERS, *options, passed=3)

    assert engine("ps", "-aq") == ""


def test_nothing_is_left_of_a_killed_pytest(engine: Engine) -> None:
    suite = """
        import os, signal
        def test_it(container, rootfs, run_session_container):
            run_session_container("small:1", ["sleep", "100"])
            (rootfs / "new").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    """

    assert run_pytest(engine, suite).returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)

    wait_until(lambda: engine("ps", "-aq") == "", "the containers to go", seconds=20)
    wait_until(lambda: not mounts_below(engine.directory), "the mount to go")
    wait_until(lambda: not os.listdir(engine.directory / "tmp"), "the files to go")


@AS_ROOT
def test_who_does_not_use_it_pays_nothing(engine: Engine) -> None:
    suite = """
        import sys
        def test_it():
            assert "overlayfs_py.pytest_plugin" in sys.modules
            found = {name for name in sys.modules if name.startswith("overlayfs_py")}
            assert found == {"overlayfs_py", "overlayfs_py.pytest_plugin"}
            assert not {"click", "msgspec", "httpx"} & sys.modules.keys()
    """

    run_pytest(engine, suite, passed=1)


@AS_ROOT
def test_a_mistake_is_one_line(engine: Engine) -> None:
    suite = """
        import pytest
        @pytest.mark.image("a:1", "b:1")
        def test_two(rootfs): pass
        @pytest.mark.image("./no image")
        def test_bad(rootfs): pass
    """

    done = run_pytest(engine, suite, errors=2)

    assert "pytest.mark.image takes one name; options have names" in done.stdout
    assert "./no image" in done.stdout.splitlines()[-2]


def test_pytest_finds_it_where_we_are_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())

    assert project["project"]["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
