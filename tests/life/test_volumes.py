"""Named volumes: what an image has at their place goes into them once, and they are managed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from tests.life.conftest import Engine

LOOK = "cd %s && for f in $(find . | sort); do stat -c '%%n %%f %%u:%%g %%h %%Y' $f; done"
MAKE = """
mkdir -p /srv/data/sub /srv/data/empty; echo one > /srv/data/one; ln /srv/data/one /srv/data/two
echo deep > /srv/data/sub/deep; ln -s ../one /srv/data/sub/link; chmod 640 /srv/data/one
chmod 1770 /srv/data; chmod 500 /srv/data/sub; touch -d @1000000000 /srv/data/sub/deep
ln -s data /srv/name
"""


@pytest.fixture
def image(engine: Engine) -> str:
    engine("run", "--name", "maker", "small:1", "sh", "-ec", MAKE)
    engine("commit", "maker", "data:1")
    engine("rm", "maker")
    return "data:1"


def test_a_new_volume_takes_what_the_image_has(engine: Engine, image: str) -> None:
    expected = engine("run", "--rm", image, "sh", "-c", LOOK % "/srv/data")

    found = engine("run", "--rm", "-v", "full:/srv/data", image, "sh", "-c", LOOK % "/srv/data")

    assert found == expected
    assert "one" in found
    assert engine("run", "--rm", "-v", "full:/mnt", "small:1", "cat", "/mnt/sub/deep") == "deep\n"


@AS_ROOT
def test_only_once(engine: Engine, image: str) -> None:
    engine("run", "--rm", "-v", "full:/srv/data", image, "sh", "-c", "rm -r /srv/data/*")

    assert engine("run", "--rm", "-v", "full:/srv/data", image, "ls", "/srv/data") == ""


@AS_ROOT
def test_not_over_what_is_there(engine: Engine, image: str) -> None:
    engine("run", "--rm", "-v", "own:/mnt", "small:1", "sh", "-c", "echo own > /mnt/own")

    assert engine("run", "--rm", "-v", "own:/srv/data", image, "ls", "/srv/data") == "own\n"


def test_not_where_it_is_not_wanted(engine: Engine, image: str) -> None:
    assert engine("run", "--rm", "-v", "a1:/srv/data:nocopy", image, "ls", "/srv/data") == ""
    mount = "type=volume,src=a2,dst=/srv/data,volume-nocopy"
    assert engine("run", "--rm", "--mount", mount + "=true", image, "ls", "/srv/data") == ""


@AS_ROOT
def test_by_a_link_of_the_image(engine: Engine, image: str) -> None:
    found = engine("run", "--rm", "-v", "full:/srv/name", image, "ls", "/srv/data").split()

    assert found == ["empty", "one", "sub", "two"]


@AS_ROOT
def test_an_anonymous_one_too(engine: Engine, image: str) -> None:
    assert "one" in engine("run", "--rm", "-v", "/srv/data", image, "ls", "/srv/data").split()


@AS_ROOT
def test_the_life_of_a_volume(engine: Engine) -> None:
    assert engine("volume", "create", "--label", "k=v", "data") == "data\n"
    assert engine("volume", "create", "data") == "data\n"  # stays as it is
    assert engine("volume", "ls").splitlines()[1].split() == ["local", "data"]
    found = json.loads(engine("volume", "inspect", "data"))[0]
    assert (found["Name"], found["Driver"], found["Labels"]) == ("data", "local", {"k": "v"})

    engine("run", "--rm", "-v", "data:/data", "small:1", "sh", "-c", "echo x > /data/file")
    path = engine("volume", "inspect", "-f", "{{.Mountpoint}}", "data").strip()
    assert (Path(path) / "file").read_text() == "x\n"

    assert engine("volume", "rm", "data") == "data\n"
    assert engine("volume", "ls", "-q") == ""
    assert engine.refusal("volume", "rm", "data")[0] == 1
    assert engine("volume", "rm", "-f", "data") == ""


@AS_ROOT
def test_a_volume_in_use_stays(engine: Engine) -> None:
    engine("create", "--name", "one", "-v", "data:/data", "small:1", "true")

    code, line = engine.refusal("volume", "rm", "data")

    assert code == 1
    assert "in use" in line
    assert engine("volume", "ls", "-q", "--filter", "dangling=true") == ""
    assert engine("volume", "ls", "-q", "--filter", "dangling=false") == "data\n"


@AS_ROOT
def test_volumes_that_nothing_has_are_removed(engine: Engine) -> None:
    anonymous = engine("volume", "create").strip()
    engine("volume", "create", "--label", "keep", "named")
    engine("create", "--name", "one", "-v", "used:/data", "small:1", "true")

    assert anonymous in engine("volume", "prune", "-f")
    assert engine("volume", "ls", "-q").split() == ["named", "used"]
    engine("volume", "prune", "-af", "--filter", "label!=keep")
    assert engine("volume", "ls", "-q").split() == ["named", "used"]
    engine("volume", "prune", "-af")
    assert engine("volume", "ls", "-q").split() == ["used"]


def test_what_other_users_of_a_container_wrote_is_removed(engine: Engine) -> None:
    script = "mkdir /data/sub; echo x > /data/sub/file; chmod 0 /data/sub"
    engine("run", "--rm", "-v", "data:/data", "small:1", "sh", "-c", script)

    assert engine("volume", "rm", "data") == "data\n"


@AS_ROOT
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("create", "a/b"), "a/b"),
        (("create", "-d", "nfs", "data"), "nfs"),
        (("ls", "--filter", "colour=red"), "colour"),
        (("inspect", "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_is_one_line(engine: Engine, words: tuple[str, ...], what: str) -> None:
    done = engine.attempt("volume", *words)

    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert what in done.stderr
