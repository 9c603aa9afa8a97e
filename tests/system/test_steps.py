"""Twenty steps in a container of podman's and in one of ours: the same words afterwards.

What podman 4.3.1 said is recorded in `steps_of_podman.json`; `recorded` says how it is asked again.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.beside_podman import ours, podman
from tests.system.engine import make_root_filesystem
from tests.system.processes import run
from tests.system.recorded import Recording, asks_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.beside_podman import Side
    from tests.system.recorded import Json

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
    "find w -exec touch -h -d @1500000000 {} +",
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
    podman: Side | None  # asked where its answers are not taken from the recording
    recording: Recording
    here: Path

    def both(self, question: str, look: Callable[[Side], Json]) -> tuple[Json, Json]:
        """What there is to see in ours and in podman's."""

        def ask() -> Json:
            assert self.podman is not None
            return look(self.podman)

        return look(self.us), self.recording.answer(question, ask)


@pytest.fixture(scope="module")
def sides(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, namespace: int
) -> Iterator[Sides]:
    here = tmp_path_factory.mktemp("steps")
    make_root_filesystem(here / "root")
    for applet in ("find", "sort", "readlink", "test"):
        (here / "root/bin" / applet).symlink_to("busybox")
    run(["sh", "-ec", "\n".join(_TREE)], cwd=here / "root")
    run(["tar", "-C", here / "root", "-cf", here / "tree.tar", "."])
    recording = Recording(
        Path(__file__).with_name("steps_of_podman.json"), asks=asks_programs(request.config)
    )
    them = podman(here / "podman", namespace) if recording.asks else None
    found = Sides(ours(here / "ours"), them, recording, here)
    script = "\n".join(f"( {step} ) 2>/dev/null; echo {at}: $?" for at, step in enumerate(_STEPS))

    def start(side: Side) -> Json:
        change = ("-c", 'CMD ["sh"]', "-c", "ENV A=b", "-c", "LABEL k=v", "-c", "EXPOSE 80")
        assert side("import", *change, here / "tree.tar", "tree:1").code == 0
        options = ("--name", "one", "-e", "C=d", "--label", "l=m")
        return list(side("run", *options, "tree:1", "sh", "-c", script + "\nexit 3"))

    started, theirs = found.both("steps", start)
    assert started == theirs
    assert started[0] == 3  # type: ignore[index]
    yield found
    for side in filter(None, found[:2]):
        assert side("rm", "-f", "one").code == 0


def test_the_same_list_of_changes(sides: Sides) -> None:
    def look(side: Side) -> Json:
        code, out, error = side("diff", "one")
        assert (code, error) == (0, "")
        return sorted(_own(out))  # type: ignore[return-value]

    us, them = sides.both("diff", look)

    assert us == them


def _own(lines: str) -> list[str]:
    return [
        line
        for line in lines.splitlines()
        if not line[3:].startswith(_ENGINES) and line != "C /etc"
    ]


def test_the_same_tar_of_all_files(sides: Sides) -> None:
    def look(side: Side) -> Json:
        code, out, _ = side("export", "one", typed=b"")
        assert code == 0
        return _members(out.encode("latin-1"))

    us, them = sides.both("export", look)

    assert us == them


def _members(data: bytes) -> dict[str, Json]:
    """What a tar means, names of hard links by the file that they are of."""
    found: dict[str, Json] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for each in tar:
            name = each.name.removeprefix("./").rstrip("/")
            if name in ("", ".", "etc") or name.startswith(_ENGINES):
                continue
            content = tar.extractfile(each) if each.isreg() or each.islnk() else None
            data = b"" if content is None else content.read()
            kind = tarfile.REGTYPE if each.islnk() else each.type
            found[name] = [
                kind.decode(),
                each.mode & 0o7777,
                each.uid,
                each.gid,
                # Times that the steps made differ: the two containers ran one after the other.
                int(each.mtime) if name in ("w/kept/b", "w/mode", "w/owner") else 0,
                "" if each.islnk() else each.linkname,
                # Programs are this machine's.
                hashlib.sha256(data).hexdigest() if name.startswith("w") else "",
            ]
    return found


def test_the_same_image(sides: Sides) -> None:
    change = ("-c", 'CMD ["true"]', "-c", "ENV E=f", "-a", "Someone", "-m", "words")

    def look(side: Side) -> Json:
        own = () if side is sides.us else ("-q", "-f", "docker")
        assert side("commit", *own, *change, "one", "made:1").code == 0
        seen = side("run", "--rm", "made:1", "sh", "-c", _LOOK)
        (facts,) = json.loads(side("image", "inspect", "made:1").out)
        config = facts["Config"]
        return {
            "seen": _without_new_times(seen.out),
            **{name: config.get(name) or "/" for name in ("Cmd", "WorkingDir", "ExposedPorts")},
            **{name: facts[name] for name in ("Author", "Comment")},
            "Env": [each for each in ("A=b", "C=d", "E=f") if each in config["Env"]],
            "Labels": {
                name: value for name, value in config["Labels"].items() if name in ("k", "l")
            },
            "Layers": len(facts["RootFS"]["Layers"]),
        }

    us, them = sides.both("image", look)

    assert us == them
    assert us["Env"] == ["A=b", "C=d", "E=f"]  # type: ignore[index,call-overload]
    assert us["Labels"] == {"k": "v", "l": "m"}  # type: ignore[index,call-overload]
    assert us["Layers"] == 2  # type: ignore[index,call-overload]


def _without_new_times(shown: str) -> list[Json]:
    """Lines of `_LOOK`, times only where no step made them."""
    return [
        line if line[:2] not in ("1 ", "2 ", "3 ") or line.endswith(" 1000000000") else line[:1]
        for line in shown.splitlines()
    ]


_FACTS = (
    "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Paused}}",
    "{{.Config.Tty}} {{.Config.OpenStdin}}",
    "{{json .Config.Cmd}} {{.Path}}",
    '{{index .Config.Labels "l"}} {{index .Config.Labels "k"}}',
    "{{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.AutoRemove}}",
    "{{.RestartCount}} {{len .Mounts}}",
)


def test_the_same_facts(sides: Sides) -> None:
    def look(side: Side) -> Json:
        code, out, error = side("inspect", "--format", "\n".join(_FACTS), "one")
        assert (code, error) == (0, "")
        # Podman's word for one that a process beside it has not cleaned up yet.
        return out.replace("stopped", "exited").splitlines()  # type: ignore[return-value]

    us, them = sides.both("inspect", look)

    assert us == them


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

    def look(side: Side) -> Json:
        words = ("run", "-d", "--name", "two", "--stop-timeout", "0", "tree:1", "sleep", "1000")
        assert side(*words).code == 0
        assert side("cp", here / "c", "two:/").code == 0
        copies = [
            *((f"{here}/{source}", f"two:{to}") for source, to in _IN),
            *((f"two:{source}", f"{here}/out{to}") for source, to in _OUT),
        ]
        refused = [" ".join(copy) for copy in copies if side("cp", *copy).code]
        tar = side("cp", "two:/c", "-", typed=b"").out.encode("latin-1")
        found: Json = {
            "refused": [words.replace(str(here), "HERE") for words in refused],
            "inside": sorted(_members(tar)),  # type: ignore[dict-item]
            "outside": _listed(here / "out"),
        }
        shutil.rmtree(here / "out")
        assert side("rm", "-f", "two").code == 0
        return found

    us, them = sides.both("cp", look)

    assert us == them


def _listed(directory: Path) -> list[Json]:
    return [
        f"{path.relative_to(directory)} {path.lstat().st_mode:o} {path.lstat().st_uid}"
        for path in sorted(directory.rglob("*"))
    ]
