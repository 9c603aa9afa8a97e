"""Each recipe of docs/CONTRIBUTING.md, done to the letter in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_CHECKOUT = Path(__file__).parent.parent
_PAGE = (_CHECKOUT / "docs/CONTRIBUTING.md").read_text()
_RECIPES = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL))
_BLOCK = re.compile(r"(?:^`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class _Block(NamedTuple):
    file: str  # "": it is not a file
    language: str
    text: str


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout of its own, with this one's environment."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=_CHECKOUT, check=True, stdout=subprocess.PIPE).stdout
    for name in names.decode().split("\0"):
        if name and (_CHECKOUT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_CHECKOUT / name, tmp_path / name)
    (tmp_path / "venv").symlink_to(sys.prefix)
    return tmp_path


def _do(block: _Block, copy: Path) -> None:
    if block.file:
        target = copy / block.file
        assert not target.exists(), block.file
        target.write_text(block.text)
    elif block.language == "diff":
        _run(["git", "apply", "-p0", "-"], copy, block.text)
    else:
        _run(["sh", "-eux"], copy, block.text)


def _run(arguments: list[str], copy: Path, text: str) -> None:
    # The environment's own package is this checkout: the copy's comes before it.
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "GIT_CEILING_DIRECTORIES": str(copy.parent),
    }
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(
        arguments,
        cwd=copy,
        env=environment,
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}"


def _blocks(recipe: str) -> list[_Block]:
    return [_Block(*found) for found in _BLOCK.findall(_RECIPES[recipe])]


@pytest.mark.parametrize("recipe", [name for name in _RECIPES if _blocks(name)])
def test_a_recipe_works_as_it_is_written(recipe: str, copy: Path) -> None:
    for block in _blocks(recipe):
        _do(block, copy)


def test_there_are_recipes() -> None:
    assert len([name for name in _RECIPES if _blocks(name)]) == 6
