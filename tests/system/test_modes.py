"""Modes that take away the owner's own rights: an ordinary user's mount answers as a directory.

Each step runs in a directory of its own, made in the layers, as the user that owns everything.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.snapshot import walk
from tests.system.processes import run
from tests.system.stack import EMPTY, Stack
from tests.system.unprivileged import (
    ONLY_ROOT,
    USER,
    as_user,
    device_for_everybody,
    in_user_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a shell finds in each step's directory: a merged `both`, and `low`, of modes that forbid.
PREPARE = """
    mkdir both ro rox rox/sub gone searched; touch both/f ro/f rox/f searched/x
    for mode in 000 200 400 444 111; do echo data > file$mode; done
    cp /bin/true program; setfattr -n user.a -v 1 ro file444 file000 gone
    chmod 555 ro rox gone; chmod 311 searched; chmod 111 program
    for mode in 000 200 400 444 111; do chmod $mode file$mode; done
"""

STEPS = {
    "mkdir -m 555": "mkdir -m 555 a; stat -c %a a",
    "mkdir in a new directory": "mkdir n; mkdir -m 555 n/a; stat -c %a n/a",
    "mkdir in a merged directory": "touch both/x; mkdir -m 500 both/a; stat -c %a both/a",
    "mkdir -m 0": "mkdir -m 0 both/z; stat -c %a both/z",
    "mkdir over a whiteout": "rmdir gone; mkdir -m 555 gone; stat -c %a gone; ls -A gone",
    "a umask": "(umask 222; mkdir um; : > ../made); stat -c %a um; rm -f ../made",
    "files of all modes": "for m in 0 200 400 444 111; do (umask 0; install -m $m /dev/null i$m); "
    "stat -c %a i$m; done",
    "rename what a layer has": "mv ro ro2; ls ro2; stat -c %a ro2; getfattr -d ro2",
    "rename and move": "mv rox rox2; ls rox2; chmod 755 rox2; mv rox2 both/; ls both/rox2",
    "move a new one": "mkdir s; chmod 555 s; mv s s2; chmod 755 s2; mv s2 both/; ls both",
    "move below": "mv ro both/ && echo moved",
    "run what is not readable": "./program; cp /bin/true mine; chmod 111 mine; ./mine; echo ran",
    "chmod what is not readable": "for m in 000 200 400 444 111; do chmod 640 file$m; cat file$m; "
    "done; getfattr --only-values -n user.a file000",
    "write after": "exec 3> opened; chmod 0 opened; echo more >&3; stat -c %a opened; "
    "chmod 400 opened; cat opened",
    "write in a read-only directory": "echo more >> ro/f; cat ro/f; chmod 600 rox/f; "
    "touch -d @5 rox/f; ln rox/f linked; stat -c %h linked; stat -c %a rox/f ro rox",
    "append to a write-only file": "echo more >> file200; chmod 600 file200; cat file200",
    "rename files": "for m in 000 200 444; do mv file$m both/; stat -c %a both/file$m; done",
    "delete files": "rm -f file000 file444 program; ls",
    "delete in what is not listed": "rm searched/x; touch searched/y; chmod 755 searched; "
    "ls searched",
    "create in what is not listed": "mkdir d; touch d/1 d/2; chmod 300 d; touch d/3; rm d/1; "
    "chmod 700 d; ls d",
    "xattrs": "setfattr -n user.b -v 2 file444 || setfattr -n user.b -v 2 file200; "
    "chmod 644 file444; setfattr -n user.b -v 2 file444; getfattr -d file444",
    "links": "ln file444 linked; stat -c '%a %h' linked; mv linked both/; stat -c %h file444",
    "times": "touch -d @1000000000 ro file000 searched; stat -c '%Y %a' ro file000 searched",
    "what is forbidden": "touch ro/new; rm -f rox/f; cat file200; ls searched; ls rox",
    "removing all": "chmod -R u+rwx both ro rox searched; rm -rf both ro rox searched; ls",
}


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with device_for_everybody():
        yield


@pytest.fixture
def stack(scratch: Path) -> Stack:
    top, bottom = scratch / "top", scratch / "bottom"
    top.mkdir()
    bottom.mkdir()
    for number in range(len(STEPS)):
        (bottom / f"{number}").mkdir()
        run(["sh", "-ec", f"cd {bottom}/{number};{PREPARE}"])
        (top / f"{number}/both").mkdir(parents=True)
        (top / f"{number}/both/top").touch()
    run(["chown", "--recursive", f"{USER}:{USER}", scratch])
    return Stack.make(scratch / "mount", (top, bottom))


SHELL = "set +e; cd {root}/{number}; ({step}) 2>&1 | sed 's/.*: //'"


def outcomes(root: Path, *, before: str = "", after: str = "") -> str:
    """Return the shell script that says for each step what it prints."""
    parts = [
        f"echo '== {name}'\n" + SHELL.format(root=root, number=number, step=step)
        for number, (name, step) in enumerate(STEPS.items())
    ]
    return "\n".join([f"set -e; umask 22; {before}", *parts, "cd /", after])


def plain_copy(stack: Stack, home: Path) -> Path:
    plain = home / "plain"
    run(["cp", "--archive", stack.lower[1], plain])
    for number in range(len(STEPS)):
        (plain / f"{number}/both/top").touch()
    run(["chown", "--recursive", f"{USER}:{USER}", plain])
    return plain


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
@pytest.mark.parametrize("how", ["fusermount3", "namespace"])
def test_an_ordinary_user_meets_a_plain_directory(
    stack: Stack, overlayfs_py: Path, scratch: Path, driver: str, how: str
) -> None:
    run(["chown", f"{USER}:{USER}", stack.upper, stack.work, stack.target])
    mount = f"{overlayfs_py} mount --driver {driver} -o {stack.options} {stack.target}"
    unmount = f"{overlayfs_py} umount {stack.target}"
    in_mount = ["sh", "-c", outcomes(stack.target, before=mount, after=unmount)]
    in_plain = ["sh", "-c", outcomes(plain_copy(stack, scratch))]
    layers = [facts(layer) for layer in stack.lower]

    if how == "fusermount3":
        seen, expected = (run(as_user(script), env=EMPTY) for script in (in_mount, in_plain))
    else:
        seen, expected = (in_user_namespace(script, ONLY_ROOT) for script in (in_mount, in_plain))

    assert seen.splitlines() == expected.splitlines()
    assert [facts(layer) for layer in stack.lower] == layers


def facts(root: Path) -> list[tuple[str, int, int, int]]:
    """The modes and change times of all that is below: a layer's never change."""
    return [
        (os.fspath(at), status.st_mode, status.st_ctime_ns, status.st_size)
        for _, at, status in walk(root)
    ]
