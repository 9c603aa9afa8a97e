"""A command loads what it needs: each start waits for every module, and scripts start many."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli import (
    builder,
    commands,
    container,
    image,
    layer,
    snapshot,
    store,
    volume,
    warm,
)
from overlayfs_py.cli.summaries import SUMMARIES

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = "import sys; from overlayfs_py.cli.main import {entry}; {entry}()"
_BOTTOM = {"cli", "durations", "errors", "late_import", "named_tuple", "terminal_text"}
_IMPORT_TIME = "import time:"


def _loaded(*arguments: str, entry: str = "main") -> set[str]:
    """The modules that a run loads beyond those of a bare interpreter."""
    return _run(_PROGRAM.format(entry=entry), *arguments) - _run("pass")


def _run(program: str, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    # What another process of a build writes has something before it.
    lines = [line for line in done.stderr.splitlines() if _IMPORT_TIME in line]
    return {line.rpartition("|")[2].strip() for line in lines}


def _foreign(modules: set[str]) -> set[str]:
    """The packages of others among them, the standard library's left out."""
    tops = {module.partition(".")[0] for module in modules}
    # The standard library's copy asks for `org`, which Jython has.
    return tops - sys.stdlib_module_names - {"overlayfs_py", "org"}


def _own(modules: set[str]) -> set[str]:
    """The rows of ours among them."""
    return {module.split(".")[1] for module in modules if module.startswith("overlayfs_py.")}


@pytest.mark.parametrize("word", ["--version", "-V"])
@pytest.mark.parametrize("entry", ["main", "mount_program"])
def test_a_version_loads_nothing(word: str, entry: str) -> None:
    assert _loaded(word, entry=entry) == {
        "__future__",
        "overlayfs_py",
        "overlayfs_py.cli",
        "overlayfs_py.cli.main",
        "overlayfs_py.cli.version",
    }


def test_a_version_that_cannot_be_written_is_a_failure(overlayfs_py: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [overlayfs_py, "--version"], check=False, stdout=full, stderr=subprocess.PIPE
        )

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize(
    "words", [["image", "ls"], ["images", "-q"], ["image", "ls", "--digests", "--no-trunc"]]
)
def test_a_list_of_images_loads_what_reads_images(words: list[str], tmp_path: Path) -> None:
    loaded = _loaded(*words, "--root", str(tmp_path))

    assert _foreign(loaded) <= {"click", "msgspec", "typing_extensions"}
    assert _own(loaded) <= _BOTTOM | {
        "image",
        "store",
        "syscalls",
        "union",
    }  # of which it is what removes trees
    assert not {module for module in loaded if "template" in module}
    assert not {f"overlayfs_py.store.{name}" for name in ("checking", "collection")} & loaded


def test_a_pull_does_not_load_the_command_line_of_httpx(tmp_path: Path) -> None:
    loaded = _loaded("pull", "-q", "--root", str(tmp_path), "127.0.0.1:1/nothing")

    assert "httpx" in loaded
    assert {"rich", "pygments"}.isdisjoint(_foreign(loaded))


# What takes long to load and is needed by none of these: values are msgspec's or `named_tuple`'s.
_SLOW = {
    *("anyio", "asyncio", "bz2", "dataclasses", "glob", "hmac", "httpx", "lzma", "multiprocessing"),
    *("random", "rich", "secrets", "shutil", "subprocess", "tempfile", "trio"),
}
_SERVING = "import overlayfs_py.drivers.service, overlayfs_py.drivers.direct_driver"
_SERVING += ", overlayfs_py.packs.layer"
# How many there are beyond a bare interpreter's: a few more may be worth it, many are a mistake.
_MOST_OF_RUN = 280  # 271 when this was written
_MOST_OF_MOUNT = 175  # 169
_MOST_OF_CACHED_BUILD = 265  # 256


def test_a_container_loads_what_runs_it(tmp_path: Path) -> None:
    loaded = _loaded("run", "--rm", "--pull", "never", "--root", str(tmp_path), "nothing", "true")

    assert "overlayfs_py.containers.monitor" in loaded
    assert not _SLOW & loaded
    assert _foreign(loaded) <= {"click", "lz4", "msgspec", "typing_extensions"}
    assert not {"builds", "advice", "transfer", "registry", "wire", "tars"} & _own(loaded)
    assert len(loaded) <= _MOST_OF_RUN


def test_a_build_that_is_all_in_the_cache_loads_nothing_that_makes_a_layer(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nWORKDIR /a\n")
    words = ("build", "--progress", "plain", "--root", str(tmp_path / "store"), str(tmp_path))
    assert "overlayfs_py.packs.writer" in _loaded(*words)

    loaded = _loaded(*words)

    assert "overlayfs_py.builds.stage" in loaded
    # A file so new is read again, and that remembered under a name that nobody can guess.
    assert not (_SLOW - {"hmac", "random", "secrets"}) & loaded
    assert _foreign(loaded) <= {"click", "msgspec", "typing_extensions"}
    assert not {"advice", "transfer", "registry", "wire", "tars", "drivers", "containers"} & _own(
        loaded
    )
    assert "overlayfs_py.union.core" not in loaded
    assert len(loaded) <= _MOST_OF_CACHED_BUILD


def test_what_serves_a_mount_loads_no_more_than_that() -> None:
    program = (
        "from overlayfs_py.drivers import service, direct_driver; import overlayfs_py.packs.layer"
    )

    loaded = _run(program) - _run("pass")

    assert not (_SLOW | {"click", "msgspec", "json", "inspect"}) & loaded
    assert _foreign(loaded) <= {"lz4"}
    assert len(loaded) <= _MOST_OF_MOUNT


def test_few_values_are_made_by_typings_named_tuple() -> None:
    """It takes ten times as long to make one, and a start makes a hundred."""
    program = (
        "import typing; made = []; kind = typing.NamedTupleMeta; new = kind.__new__;"
        "kind.__new__ = lambda *words, **more: made.append(words[1]) or new(*words, **more);"
        f"{_SERVING}; from overlayfs_py.cli import run, foreground;"
        "from overlayfs_py.store import images; print(made)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["pull", "--help"], ["mount", "--help"], ["image", "--help"]]
)
def test_help_loads_no_store_and_no_driver(words: list[str]) -> None:
    loaded = _loaded(*words)

    assert _foreign(loaded) <= {"click", "typing_extensions"}
    assert _own(loaded) <= _BOTTOM | {"backends"}


def test_every_command_has_its_line_in_a_list() -> None:
    rooms = (builder, container, image, layer, snapshot, store, volume, warm)
    groups = (commands.command_line, *(room.command for room in rooms))
    modules = {group.module_of(name) for group in groups for name in group.list_commands(None)}

    assert modules == SUMMARIES.keys()


_LEAVING = """
import atexit, threading, time
from overlayfs_py.cli.errors import leave
print("first")
atexit.register(print, "last")
if {waits}:
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
leave(3)
"""


@pytest.mark.parametrize(
    ("waits", "shown"), [(False, "first\nlast\n"), (True, "first\nthread\nlast\n")]
)
def test_a_command_ends_with_all_that_is_under_way(waits: bool, shown: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING.format(waits=waits)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (3, shown)


def test_an_end_that_cannot_be_written_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _LEAVING.format(waits=False)],
            check=False,
            env={},  # where PYTHONUNBUFFERED may be, `print` would fail already
            stdout=full,
            stderr=subprocess.PIPE,
        )

    assert done.returncode == 120  # Python's own
    assert b"No space left on device" in done.stderr
