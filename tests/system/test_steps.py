"""Twenty steps in a container of podman's and in one of ours: the same words afterwards."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.beside_podman import ours, podman
from tests.system.engine import make_root_filesystem
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.beside_podman import Answer, Side

_STEPS = (
    "echo more >> /w/kept/a",
    "chmod 600 /w/mode",
    "chown 7:8 /w/owner",
    "rm /w/gone",
    "rm -r /w/tree",
    "mkdir -p /w/new/deep/er",
    "echo new > /w/new/deep/file",
    "ln -s ../kept /w/new/link",
    "ln /w/new/deep/file /w/new/twin",
    "mv /w/file /w/renamed",
    "mv /w/moved /w/elsewhere",
    "rm -r /w/again; mkdir /w/again; echo x > /w/again/new",
    "rm /w/type; mkdir /w/type; echo x > /w/type/inside",
    "rm -r /w/shape; echo x > /w/shape",
    "rm /w/link; ln -s elsewhere /w/link",  # of another length: podman compares size and time
    "cp -p /w/kept/b /w/kept/c",
    "touch -d @1000000000 /w/kept/b",
    "mkfifo /w/pipe",
    "cat /w/absent",
    "cat /w/kept/b > /w/kept/b2; test -s /w/absent",
)
_TREE = (
    "mkdir -p w/kept w/tree/sub w/moved/sub w/again w/shape",
    "for f in kept/a kept/b mode owner gone tree/sub/x file moved/sub/y again/old type shape/z; "
    "do echo $f > w/$f; done",
    "ln -s kept w/link",
    "ln bin/busybox bin/mkfifo",
)
# What an engine lays into a container for itself, or makes of the host's files.
_ENGINES = ("dev", "proc", "sys", "run", "etc/mtab", "etc/hosts", "etc/hostname", "etc/resolv.conf")
_LOOK = """
for f in $(find /w | sort); do
    stat -c '%n %f %u:%g' $f
    if [ -L $f ]; then readlink $f; elif [ -f $f ]; then stat -c '%h %Y' $f; cat $f; fi
done
"""


class Sides(NamedTuple):
    """A container `one` of each program in which the steps were taken."""

    us: Side
    podman: Side
    here: Path

    def both(self, *words: object) -> tuple[Answer, Answer]:
        return self.us(*words), self.podman(*words)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, namespace: int) -> Iterator[Sides]:
    here = tmp_path_factory.mktemp("steps")
    make_root_filesystem(here / "root")
    for applet in ("find", "sort", "readlink", "test"):
        (here / "root/bin" / applet).symlink_to("busybox")
    run(["sh", "-ec", "\n".join(_TREE)], cwd=here / "root")
    run(["tar", "-C", here / "root", "-cf", here / "tree.tar", "."])
    found = Sides(ours(here / "ours"), podman(here / "podman", namespace), here)
    script = "\n".join(f"( {step} ) 2>/dev/null; echo {at}: $?" for at, step in enumerate(_STEPS))
    started = []
    for side in found[:2]:
        change = ("-c", 'CMD ["sh"]', "-c", "ENV A=b", "-c", "LABEL k=v", "-c", "EXPOSE 80")
        assert side("import", *change, here / "tree.tar", "tree:1").code == 0
        options = ("--name", "one", "-e", "C=d", "--label", "l=m")
        started.append(side("run", *options, "tree:1", "sh", "-c", script + "\nexit 3"))
    assert started[0] == started[1]
    assert started[0].code == 3
    yield found
    for side in found[:2]:
        assert side("rm", "-f", "one").code == 0


def test_the_same_list_of_changes(sides: Sides) -> None:
    us, them = sides.both("diff", "one")

    assert (us.code, us.error) == (them.code, them.error) == (0, "")
    assert sorted(_own(us.out)) == sorted(_own(them.out))


def _own(lines: str) -> list[str]:
    return [
        line
        for line in lines.splitlines()
        if not line[3:].startswith(_ENGINES) and line != "C /etc"
    ]


def test_the_same_tar_of_all_files(sides: Sides) -> None:
    us, them = (side("export", "one", typed=b"") for side in sides[:2])

    assert us.code == them.code == 0
    assert _members(us.out.encode("latin-1")) == _members(them.out.encode("latin-1"))


def _members(data: bytes) -> dict[str, tuple[object, ...]]:
    """What a tar means, names of hard links by the file that they are of."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for each in tar:
            name = each.name.removeprefix("./").rstrip("/")
            if name in ("", ".", "etc") or name.startswith(_ENGINES):
                continue
            content = tar.extractfile(each) if each.isreg() or each.islnk() else None
            data = b"" if content is None else content.read()
            kind = tarfile.REGTYPE if each.islnk() else each.type
            target = "" if each.islnk() else each.linkname
            found[name] = (
                kind,
                each.mode & 0o7777,
                each.uid,
                each.gid,
                int(each.mtime),
                target,
                data,
            )
    return {name: _timeless(name, value) for name, value in found.items()}


def _timeless(name: str, value: tuple[object, ...]) -> tuple[object, ...]:
    """Without a time that the steps made: the two containers ran one after the other."""
    return (
        value
        if name in ("w/kept/a0", "w/kept/b", "w/mode", "w/owner")
        else (*value[:4], *value[5:])
    )


def test_the_same_image(sides: Sides) -> None:
    change = ("-c", 'CMD ["true"]', "-c", "ENV E=f", "-a", "Someone", "-m", "words")
    us = sides.us("commit", *change, "one", "made:1")
    them = sides.podman("commit", "-q", "-f", "docker", *change, "one", "made:1")
    assert us.code == them.code == 0

    seen = [side("run", "--rm", "made:1", "sh", "-c", _LOOK) for side in sides[:2]]
    assert _without_new_times(seen[0].out) == _without_new_times(seen[1].out)
    facts = [json.loads(side("image", "inspect", "made:1").out)[0] for side in sides[:2]]
    for name in ("Cmd", "WorkingDir", "ExposedPorts"):
        here, there = (each["Config"].get(name) for each in facts)
        assert (here or "/") == (there or "/"), name
    for name in ("Author", "Comment"):
        assert facts[0][name] == facts[1][name]
    ours_env, theirs_env = (set(each["Config"]["Env"]) for each in facts)
    assert {"A=b", "C=d", "E=f"} <= ours_env & theirs_env
    labels = [each["Config"].get("Labels") or {} for each in facts]
    assert all({"k": "v", "l": "m"}.items() <= each.items() for each in labels)
    assert len(facts[0]["RootFS"]["Layers"]) == len(facts[1]["RootFS"]["Layers"]) == 2


def _without_new_times(shown: str) -> list[str]:
    """Lines of `_LOOK`, times only where no step made them."""
    return [
        line if line[:2] not in ("1 ", "2 ", "3 ") or line.endswith(" 1000000000") else line[:1]
        for line in shown.splitlines()
    ]


@pytest.mark.parametrize(
    "template",
    [
        "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Paused}}",
        "{{.Config.Tty}} {{.Config.OpenStdin}}",
        "{{json .Config.Cmd}} {{.Path}}",
        '{{index .Config.Labels "l"}} {{index .Config.Labels "k"}}',
        "{{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.AutoRemove}}",
        "{{.RestartCount}} {{len .Mounts}}",
    ],
)
def test_the_same_facts(sides: Sides, template: str) -> None:
    us, them = sides.both("inspect", "--format", template, "one")

    # Podman's word for one that a process beside it has not cleaned up yet.
    assert us == them._replace(out=them.out.replace("stopped", "exited"))


# Not links: podman follows those, docker and we copy them.
_IN = [
    ("file", "/c/"),
    ("file", "/c/absent/"),
    ("file", "/w/kept/a/"),
    ("tree", "/c/new"),
    ("tree", "/c/made"),
    ("tree/.", "/c/also"),
    ("tree", "/w/kept/a"),
    ("tree", "/c/absent/sub"),
    ("file/", "/c/"),
]
_OUT = [("/c", ""), ("/c/.", "/more"), ("/c/file", "/f"), ("/absent", "/"), ("/c", "/f")]


def test_the_same_copies(sides: Sides) -> None:
    here = sides.here / "copies"
    (here / "tree/sub").mkdir(parents=True)
    (here / "file").write_text("file\n")
    (here / "tree/sub/x").write_text("x\n")
    (here / "tree/sub/x").chmod(0o640)
    (here / "c/made").mkdir(parents=True)
    seen = []
    for side in sides[:2]:
        words = ("run", "-d", "--name", "two", "--stop-timeout", "0", "tree:1", "sleep", "1000")
        assert side(*words).code == 0
        assert side("cp", here / "c", "two:/").code == 0
        refused = {
            copy
            for copy in [(f"{here}/{source}", f"two:{to}") for source, to in _IN]
            + [(f"two:{source}", f"{here}/out{to}") for source, to in _OUT]
            if side("cp", *copy).code
        }
        tar = side("cp", "two:/c", "-", typed=b"").out.encode("latin-1")
        seen.append((refused, sorted(_members(tar)), _listed(here / "out")))
        shutil.rmtree(here / "out")
        assert side("rm", "-f", "two").code == 0

    for ours_seen, theirs_seen in zip(*seen, strict=True):
        assert sorted(set(ours_seen) ^ set(theirs_seen)) == []


def _listed(directory: Path) -> list[tuple[object, ...]]:
    return sorted(
        (str(path.relative_to(directory)), path.lstat().st_mode, path.lstat().st_uid)
        for path in directory.rglob("*")
    )
