"""`save` and `load` on the command line: names, places, platforms."""

from __future__ import annotations

import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.store import Store
from tests.support.oci_layout import layer_of, write_layout
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    from pathlib import Path


class Commands:
    """The program with a store that has an image, `reg.example:5000/team/app:1`."""

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self.directory = directory
        self.root = directory / "store"
        self.layout(directory / "layout")
        self.run("load", "-q", "-i", directory / "layout")
        store = Store.open(self.root)
        self.image_id = store.images()[0].image_id
        store.tag(self.image_id, parse_reference("reg.example:5000/team/app:1"))

    def layout(self, place: Path, architecture: str = "amd64") -> None:
        write_layout(place, [layer_of({"f": b"x"})], architecture=architecture)

    def run(self, command: str, *words: str | Path) -> str:
        return run([self._program, command, "--root", self.root, *words])

    def attempt(self, command: str, *words: str | Path) -> tuple[int, str]:
        done = attempt([self._program, command, "--root", self.root, *words])
        return done.returncode, done.stderr.removeprefix("overlayfs-py: ").strip()

    def tags_saved(self, *names: str) -> list[str]:
        self.run("save", "-o", self.directory / "a.tar", *names)
        with tarfile.open(self.directory / "a.tar") as archive:
            file = archive.extractfile("manifest.json")
            assert file is not None
            (entry,) = json.load(file)
        tags = entry["RepoTags"]
        assert isinstance(tags, list)
        return tags


@pytest.fixture
def commands(overlayfs_py: Path, tmp_path: Path) -> Commands:
    return Commands(overlayfs_py, tmp_path)


@pytest.mark.parametrize("name", ["reg.example:5000/team/app:1", "team/app:1"])
def test_save_keeps_the_name(commands: Commands, name: str) -> None:
    assert commands.tags_saved(name) == ["reg.example:5000/team/app:1"]


def test_save_of_a_repository_saves_its_tags(commands: Commands) -> None:
    for tag in ("reg.example:5000/team/app:2", "debian:12"):
        commands.run("tag", commands.image_id, tag)

    assert commands.tags_saved("reg.example:5000/team/app") == [
        "reg.example:5000/team/app:1",
        "reg.example:5000/team/app:2",
    ]
    assert commands.tags_saved("debian:12") == ["debian:12"]
    assert commands.tags_saved(commands.image_id) == []


def test_save_leaves_nothing_beside_its_archive(commands: Commands) -> None:
    before = {*commands.directory.iterdir()}

    assert commands.attempt("save", "-o", commands.directory / "none/a.tar", commands.image_id)[0]
    assert commands.attempt("save", "-o", commands.directory / "b.tar", "nope") == (
        31,
        "nope: no such image",
    )
    commands.run("save", "-o", commands.directory / "b.tar", commands.image_id)

    assert {*commands.directory.iterdir()} - before == {commands.directory / "b.tar"}


def test_save_to_a_directory_is_whole_or_nothing(commands: Commands) -> None:
    place = commands.directory / "saved"
    place.mkdir()
    (place / "old").touch()

    code, message = commands.attempt("save", "--format=oci-dir", "-o", place, commands.image_id)
    assert (code, message) == (1, f"{place}: Directory not empty")
    (place / "old").unlink()
    commands.run("save", "--format=oci-dir", "-o", place, commands.image_id)

    assert sorted(os.listdir(place)) == ["blobs", "index.json", "oci-layout"]
    assert place.stat().st_mode & 0o777 == 0o755


def test_save_of_another_platform_is_an_error(commands: Commands) -> None:
    place = commands.directory / "c.tar"

    code, message = commands.attempt("save", "--platform=linux/arm64", "-o", place, "team/app:1")

    assert code == 33
    assert "team/app:1: linux/arm64: no image for this platform; there is: linux/amd64" in message
    assert not place.exists()


def test_load_of_another_platform_is_told_and_done(commands: Commands) -> None:
    place = commands.directory / "other"
    commands.layout(place, "s390x")

    code, message = commands.attempt("load", "--platform", "linux/amd64", "-q", "-i", place)

    assert code == 0
    assert message.endswith("an image for linux/s390x, not for linux/amd64")


READING = {
    "images": ["images"],
    "tree": ["image", "tree"],
    "df": ["store", "df"],
    "inspect": ["inspect", "x"],
    "history": ["history", "x"],
    "rmi": ["rmi", "x"],
    "tag": ["tag", "x", "y"],
    "save": ["save", "-o", "/dev/null", "x"],
    "fsck": ["store", "fsck"],
    "prune": ["image", "prune", "-f"],
}


@pytest.mark.parametrize("words", READING.values(), ids=READING.keys())
def test_a_command_that_reads_makes_no_store(
    overlayfs_py: Path, tmp_path: Path, words: list[str]
) -> None:
    root = tmp_path / "store"

    done = attempt([overlayfs_py, *words, f"--root={root}"])

    assert not root.exists()
    if words[-1] in {"images", "tree"}:
        assert done.returncode == 0
        assert done.stderr == f"overlayfs-py: {root}: no such store\n"
    elif words[0] == "inspect":  # of whatever there is, and docker's exit code for containers
        missing = "x: no such container or image"
        assert (done.returncode, done.stderr) == (1, f"overlayfs-py: {missing}\n")
    else:
        missing = f"{root}: no such store" if "x" not in words else "x: no such image"
        assert (done.returncode, done.stderr) == (31, f"overlayfs-py: {missing}\n")
