"""`diff`: what a container has changed of its image, as docker's A, C and D lines."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.life.conftest import Engine

# Every kind of change: of content, attributes and type; new, deleted and renamed ones, directories
# renamed with what they hold, replaced by others, and changed inside afterwards.
TREE = """
mkdir -p /w/kept /w/inner/deep /w/gone/below /w/moved/sub /w/again /w/type /w/same
for f in kept/a inner/deep/b gone/below/c moved/d moved/sub/e again/f again/g type/h same/i
do echo $f > /w/$f; done
dd if=/dev/zero of=/w/large bs=1000 count=50 2>/dev/null
ln -s kept /w/link
"""
STEPS = """
echo more >> /w/inner/deep/b
chmod 600 /w/large
rm -r /w/gone
mv /w/moved /w/elsewhere
echo x > /w/elsewhere/sub/new
rm -r /w/again; mkdir /w/again; echo new > /w/again/g
rm /w/type/h; mkdir /w/type/h; echo in > /w/type/h/j
rm -r /w/same; ln -s kept /w/same
rm /w/link; ln -s inner /w/link
mkdir /fresh; echo 1 > /fresh/one; ln /fresh/one /fresh/two
echo '#' >> /etc/passwd
"""
EXPECTED = """\
C /etc
C /etc/passwd
A /fresh
A /fresh/one
A /fresh/two
C /w
C /w/again
D /w/again/f
C /w/again/g
A /w/elsewhere
A /w/elsewhere/d
A /w/elsewhere/sub
A /w/elsewhere/sub/e
A /w/elsewhere/sub/new
D /w/gone
C /w/inner
C /w/inner/deep
C /w/inner/deep/b
C /w/large
C /w/link
D /w/moved
C /w/same
C /w/type
C /w/type/h
A /w/type/h/j
"""


@pytest.fixture(scope="module")
def trees(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar of a root filesystem with something to change."""
    root = tmp_path_factory.mktemp("changes") / "root"
    shutil.copytree(small_root, root, symlinks=True)
    run(["sh", "-ec", TREE.replace("/w/", f"{root}/w/")])
    archive = root.parent / "tree.tar"
    run(["tar", "--owner=0", "--group=0", "-C", root, "-cf", archive, "."])
    archive.chmod(0o644)
    return archive


@pytest.fixture
def image(engine: Engine, trees: Path) -> str:
    shutil.copy(trees, engine.directory / "tree.tar")
    engine("import", engine.directory / "tree.tar", "tree:1")
    return "tree:1"


def test_every_kind_of_change(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-ec", STEPS)

    assert engine("diff", "one") == EXPECTED


def test_a_container_that_changed_nothing(engine: Engine, image: str) -> None:
    engine("create", "--name", "one", image, "true")
    assert engine("diff", "one") == ""
    engine("start", "-a", "one")
    assert engine("diff", "one") == ""


def test_a_running_container(engine: Engine, image: str) -> None:
    script = "echo x > /w/new; rm /w/link; echo ready; while :; do sleep 0.1; done"
    engine("run", "-d", "--name", "one", image, "sh", "-c", script)
    _wait_for(engine, "ready")

    assert engine("diff", "one") == "C /w\nD /w/link\nA /w/new\n"


def _wait_for(engine: Engine, text: str) -> None:
    wait_until(lambda: text in engine("logs", "one"), f"the container to say {text}")


def test_what_volumes_hold_is_not_the_containers(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", "-v", "data:/w/kept", image, "sh", "-c", "echo x > /w/kept/new")

    assert engine("diff", "one") == ""


def test_for_programs(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-c", "rm /w/link; chmod 600 /w/large")

    found = [json.loads(line) for line in engine("diff", "--json", "one").splitlines()]

    assert [(each["kind"], (each.get("after") or each["before"])["path"]) for each in found] == [
        ("changed", "/w"),
        ("changed", "/w/large"),
        ("deleted", "/w/link"),
    ]
    assert (found[1]["before"]["mode"], found[1]["after"]["mode"]) == ("0644", "0600")


def test_a_name_that_is_hostile_to_terminals(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-c", r"touch $(printf '/w/\033[31mred')")

    assert "\033" not in engine("diff", "one")


def test_no_such_container(engine: Engine) -> None:
    code, line = engine.refusal("diff", "nothing")

    assert code != 0
    assert "nothing" in line
