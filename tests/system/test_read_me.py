"""The commands of README.md as they stand, one after the other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.docker_registry import docker_registry
from tests.system.engine import make_root_filesystem
from tests.system.mount_table import mounts_below
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).parents[2]
_REGISTRIES = """
[[registry]]
prefix = "docker.io"
location = "{host}"
insecure = true
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's environment in which Docker Hub is a registry here, with a small `debian`."""
    home = tmp_path / "home"
    (home / ".config/containers").mkdir(parents=True)
    variables = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
    }
    make_root_filesystem(tmp_path / "root")
    with docker_registry(tmp_path / "registry") as registry:
        name = f"{registry.domain}/library/debian"
        run(["overlayfs-py", "import", tmp_path / "root", name], env=variables)
        run(["overlayfs-py", "push", "--tls-verify=false", name], env=variables)
        shutil.rmtree(home / ".local")
        configuration = home / ".config/containers/registries.conf"
        configuration.write_text(_REGISTRIES.format(host=registry.domain))
        yield variables


def test_the_commands_work_as_they_stand(environment: dict[str, str], tmp_path: Path) -> None:
    text = (_CHECKOUT / "README.md").read_text()
    (block,) = re.findall(r"in your PATH:\n\n((?:    .*\n)+)", text)
    place = tmp_path / "place"
    place.mkdir()

    (tmp_path / "script").write_text(block)

    done = subprocess.run(
        ["sh", "-ex", tmp_path / "script"],
        stdin=subprocess.DEVNULL,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "changed\nhello\n" in done.stdout
    assert "base.pack" in done.stdout  # what /src shows
    assert "A /etc/mine\n" in done.stdout  # diff
    assert "kept\nmine\n" in done.stdout  # exec, after commit
    assert "cannot remove" not in done.stderr
    assert not mounts_below(place)


def test_the_session_at_the_top_is_what_is_printed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    text = (_CHECKOUT / "README.md").read_text()
    (session,) = re.findall(r"\n\n((?:    [^\n]*\n)+)\n## Start", text)
    typed = re.findall(r"^    \$ (.*)\n((?:    [^$].*\n)*)", session, re.MULTILINE)
    shell = ["sh", "-ec"]

    for command, printed in typed:
        if command.startswith("overlayfs-py run "):  # which prints the container's id
            run([*shell, command], env=environment, cwd=tmp_path)
            continue
        told = run([*shell, command], env=environment, cwd=tmp_path)
        if not command.startswith("overlayfs-py rm "):
            assert told == textwrap.dedent(printed), command


def test_links_lead_somewhere() -> None:
    for page in (_CHECKOUT / "README.md", *(_CHECKOUT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([\w/.-]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
