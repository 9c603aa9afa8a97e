"""The TAB key, in the shells themselves: each line is typed at a terminal and then run."""

from __future__ import annotations

import re
import resource
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.backends import mount_options
from overlayfs_py.backends.option_table import OPTIONS
from overlayfs_py.store.store import Store
from tests.cli.terminal import Terminal
from tests.support.stored import make_image

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARGUMENTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i", "--init-command", "function fish_greeting; end"],
}
_SETUP = {
    "bash": "bind 'set enable-bracketed-paste off'; source {script}",
    "zsh": "autoload -Uz compinit && compinit -u -d {home}/zcompdump; source {script}",
    "fish": "source {script}",
}
# Stands for the program wherever nothing is to be completed.
_WRAPPER = """#!/bin/sh
[ -z "$_OVERLAYFS_PY_COMPLETE" ] || exec {program}
printf 'ran:'
printf '<%s>' "$@"
echo :end
"""
_IMAGES = ("debian:11", "debian:12", "localhost:5000/team/app:1.2", "alpine:3")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, overlayfs_py: Path) -> Path:
    """A home with a store, some directories, and a wrapper of the program."""
    home = tmp_path_factory.mktemp("home")
    store = Store.open(home / "share/overlayfs-py")
    for at, name in enumerate(_IMAGES):
        make_image(store, name, layers=[{"f": str(at)}])
    for name in ("layers/base", "layers/top", "patch", "with space"):
        (home / name).mkdir(parents=True)
    wrapper = home / "bin/overlayfs-py"
    wrapper.parent.mkdir()
    wrapper.write_text(_WRAPPER.format(program=shlex.quote(str(overlayfs_py))))
    wrapper.chmod(0o755)
    return home


@pytest.fixture(scope="module", params=_ARGUMENTS)
def shell(request: pytest.FixtureRequest, home: Path, overlayfs_py: Path) -> Iterator[Terminal]:
    name = request.param
    assert shutil.which(name), f"install the Debian package {name}"
    script = home / f"completion.{name}"
    script.write_bytes(subprocess.check_output([overlayfs_py, "completion", name]))
    environment = {
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "share"),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    with Terminal(_ARGUMENTS[name], environment) as terminal:
        setup = _SETUP[name].format(script=shlex.quote(str(script)), home=shlex.quote(str(home)))
        terminal.type(f"{setup}\rcd {shlex.quote(str(home))}\roverlayfs-py ready\r")
        terminal.wait_for("ran:<ready>:end")
        yield terminal


_LINES = {
    "a command": ("comple\t", ["completion"]),
    "a command of a group": ("image hist\t", ["image", "history"]),
    "an option": ("chroot --kee\t", ["chroot", "--keep"]),
    "a name up to its colon": ("image inspect deb\t", ["image", "inspect", "debian:1"]),
    "a name after its colon": ("image inspect debian:12\t", ["image", "inspect", "debian:12"]),
    "a name with a port": ("image inspect localhost\t", ["inspect", "localhost:5000/team/app:1.2"]),
    "a name after its port": ("rmi localhost:5000/t\t", ["rmi", "localhost:5000/team/app:1.2"]),
    "one of several names": ("save alpine:3 debian:12\t", ["save", "alpine:3", "debian:12"]),
    "an image to enter": ("chroot alp\t", ["chroot", "alpine:3"]),
    "a layer to enter": ("chroot lay\tba\t", ["chroot", "layers/base/"]),
    "an image below a layer": ("chroot patch:alp\t", ["chroot", "patch:alpine:3"]),
    "a destination": ("push alpine:3 localhost\t", ["localhost:5000/team/app:1.2"]),
    "a mount option": ("mount -o lowe\t", ["-o", "lowerdir="]),
    "a later mount option": ("mount -o ro,meta\t", ["-o", "ro,metacopy="]),
    "a value of a mount option": ("mount -o ro,io=pass\t", ["-o", "ro,io=passthrough"]),
    "an image to mount": (
        "mount -o ro,lowerdir=patch:image=alp\t",
        ["ro,lowerdir=patch:image=alpine:3"],
    ),
    "a driver": ("mount --driver py\t", ["--driver", "pyfuse3"]),
    "a mount point": ("umount pat\t", ["umount", "patch/"]),
}


@pytest.mark.parametrize(("typed", "ran"), _LINES.values(), ids=_LINES.keys())
def test_the_tab_key_completes(shell: Terminal, typed: str, ran: list[str]) -> None:
    shell.type(f"overlayfs-py {typed}")
    shell.type("\r")

    words = shell.wait_for("ran:(.*?):end")[1]

    # zsh takes the last slash of a directory away again.
    assert words.replace("/>", ">").endswith("".join(f"<{word.rstrip('/')}>" for word in ran))


@pytest.mark.parametrize("typed", ["lowerdir=lay\ttop\t", "lowerdir=patch:lay\ttop\t"])
def test_the_tab_key_completes_layers_of_a_mount(shell: Terminal, typed: str) -> None:
    shell.type(f"overlayfs-py mount -o {typed}")
    shell.type("\r")

    words = shell.wait_for("ran:(.*?):end")[1]

    completed = typed.replace("lay\t", "layers/").replace("\t", "")
    assert words.replace("/>", ">").endswith(f"<{completed}>")


@pytest.mark.alone
def test_a_tab_key_does_not_keep_its_user_waiting(home: Path, overlayfs_py: Path) -> None:
    line = "overlayfs-py image inspect deb"
    asked = {
        "XDG_DATA_HOME": str(home / "share"),
        "_OVERLAYFS_PY_COMPLETE": "bash_complete",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }

    def processor_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = subprocess.check_output([overlayfs_py], env=asked, text=True)
        assert answer == "word debian:11\nword debian:12\n"
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(processor_s() for _ in range(7)) < 0.15


def test_a_tab_key_makes_no_store(overlayfs_py: Path, tmp_path: Path) -> None:
    line = "overlayfs-py image inspect "
    asked = {
        "XDG_DATA_HOME": str(tmp_path),
        "_OVERLAYFS_PY_COMPLETE": "bash_complete",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }

    assert subprocess.check_output([overlayfs_py], env=asked) == b"\n"
    assert list(tmp_path.iterdir()) == []


def test_every_mount_option_is_described() -> None:
    described = {name for each in OPTIONS for name in each.names}

    assert described == mount_options.NAMES


def test_every_mount_option_stands_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs/CLI.md").read_text()
    words = set(re.findall(r"[a-z_]+", text.partition("| Option | Meaning |")[2]))

    assert words >= mount_options.NAMES
