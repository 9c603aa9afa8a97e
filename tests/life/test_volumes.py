"""Named volumes: what an image has at their place goes into them once, and they are managed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


def test_only_once(engine: Engine, image: str) -> None:
    engine("run", "--rm", "-v", "full:/srv/data", image, "sh", "-c", "rm -r /srv/data/*")

    assert engine("run", "--rm", "-v", "full:/srv/data", image, "ls", "/srv/data") == ""


def test_not_over_what_is_there(engine: Engine, image: str) -> None:
    engine("run", "--rm", "-v", "own:/mnt", "small:1", "sh", "-c", "echo own > /mnt/own")

    assert engine("run", "--rm", "-v", "own:/srv/data", image, "ls", "/srv/data") == "own\n"


def test_not_where_it_is_not_wanted(engine: Engine, image: str) -> None:
    assert engine("run", "--rm", "-v", "a1:/srv/data:nocopy", image, "ls", "/srv/data") == ""
    mount = "type=volume,src=a2,dst=/srv/data,volume-nocopy"
    assert engine("run", "--rm", "--mount", mount + "=true", image, "ls", "/srv/data") == ""


def test_by_a_link_of_the_image(engine: Engine, image: str) -> None:
    found = engine("run", "--rm", "-v", "full:/srv/name", image, "ls", "/srv/data").split()

    assert found == ["empty", "one", "sub", "two"]


def test_an_anonymous_one_too(engine: Engine, image: str) -> None:
    assert "one" in engine("run", "--rm", "-v", "/srv/data", image, "ls", "/srv/data").split()
