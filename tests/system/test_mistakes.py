"""What people get wrong, beside podman's word for it: one line, and docker's exit code.

`pytest -rP tests/system/test_mistakes.py` prints both words for each.
"""

from __future__ import annotations

import shlex
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.beside_podman import ours, podman
from tests.system.engine import make_root_filesystem
from tests.system.processes import run
from tests.system.recorded import asks_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.beside_podman import Side


class Mistake(NamedTuple):
    """A command line, docker's exit code for it, and what our line must name."""

    words: str
    code: int
    named: str


# In the store: the image `small:1`; `up`, which runs, `down`, which has ended; the volume `data`,
# which `up` has. {port} is in use, {here} a directory of the host with `file` in it.
MISTAKES = [
    Mistake("run --pull never absent:9", 125, "absent:9"),
    Mistake("run small:1 nothing", 127, "nothing"),
    Mistake("run small:1 /etc/passwd", 126, "/etc/passwd"),
    Mistake("run --name up small:1 true", 125, "up"),
    Mistake("run --name b@d small:1 true", 125, "b@d"),
    Mistake("run -v relative/dir:/x small:1 true", 125, "relative/dir"),
    Mistake("run -v data:relative small:1 true", 125, "relative"),
    Mistake("run -v data:/x:wat small:1 true", 125, "wat"),
    Mistake("run -v aa:/x -v bb:/x small:1 true", 125, "/x"),
    Mistake("run --mount type=wat,dst=/x small:1 true", 125, "wat"),
    Mistake("run --mount type=bind,src={here}/absent,dst=/x small:1 true", 125, "{here}/absent"),
    Mistake("run --network none -p {port}:80 small:1 true", 125, "{port}"),
    Mistake("run -p 80:99999 small:1 true", 125, "99999"),
    Mistake("run --network wat small:1 true", 125, "wat"),
    Mistake("run -u nobody9 small:1 true", 125, "nobody9"),
    Mistake("run -w relative small:1 true", 125, "relative"),
    Mistake("run -w /etc/passwd small:1 true", 125, "/etc/passwd"),
    Mistake("run --memory wat small:1 true", 125, "wat"),
    Mistake("run --restart wat small:1 true", 125, "wat"),
    Mistake("run --stop-signal WAT small:1 true", 125, "WAT"),
    Mistake("run --env-file {here}/absent small:1 true", 125, "{here}/absent"),
    Mistake("run --cidfile {here}/file small:1 true", 125, "{here}/file"),
    Mistake("run --rm --restart always small:1 true", 125, "--restart"),
    Mistake("run --no-such-option small:1 true", 125, "--no-such-option"),
    Mistake("run", 1, "IMAGE"),
    Mistake("start nothing", 1, "nothing"),
    Mistake("kill down", 1, "down"),
    Mistake("kill -s WAT up", 1, "WAT"),
    Mistake("exec down true", 1, "down"),
    Mistake("exec up /etc/passwd", 126, "/etc/passwd"),
    Mistake("exec -w /nowhere up true", 126, "/nowhere"),
    Mistake("attach down", 1, "down"),
    Mistake("rm up", 1, "up"),
    Mistake("rename down up", 1, "up"),
    Mistake("unpause up", 1, "up"),
    Mistake("port up 9999", 1, "9999"),
    Mistake("commit nothing x:1", 1, "nothing"),
    Mistake("commit down Upper:1", 1, "Upper:1"),
    Mistake("commit -c WAT down x:1", 1, "WAT"),
    Mistake("inspect nothing", 1, "nothing"),
    Mistake("cp up:/nowhere {here}/x", 1, "/nowhere"),
    Mistake("cp {here}/absent up:/", 1, "{here}/absent"),
    Mistake("volume rm data", 1, "data"),
]


class Both(NamedTuple):
    """The two programs, and what stands in the mistakes' braces."""

    us: Side
    podman: Side | None  # asked where its words will be shown
    values: dict[str, str]


@pytest.fixture(scope="module")
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, namespace: int
) -> Iterator[Both]:
    home = tmp_path_factory.mktemp("mistakes")
    make_root_filesystem(home / "root")
    run(["tar", "-C", home / "root", "-cf", home / "small.tar", "."])
    (home / "file").write_text("file\n")
    us, them = ours(home / "ours"), None
    if asks_programs(request.config):
        them = podman(home / "podman", namespace)
    sides = [side for side in (us, them) if side is not None]
    with socket.create_server(("0.0.0.0", 0)) as busy:
        for side in sides:
            for words in (
                f"import {home}/small.tar small:1",
                "run -d --name up --stop-timeout 0 -v data:/data small:1 sleep 1000",
                "run --name down small:1 true",
            ):
                assert side(*words.split()).code == 0
        yield Both(us, them, {"here": str(home), "port": str(busy.getsockname()[1])})
        for side in sides:
            assert side("rm", "-fv", "up", "down").code == 0


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.words)
def test_a_mistake(both: Both, mistake: Mistake) -> None:
    words = shlex.split(mistake.words.format(**both.values))
    us = both.us(*words)
    print(f"we     {us.code}: {us.error.strip()}")
    if both.podman is not None:
        them = both.podman(*words)
        print(f"podman {them.code}: {them.error.strip()}")

    assert us.error.count("\n") == 1
    assert mistake.named.format(**both.values) in us.error
    assert us.code == mistake.code
