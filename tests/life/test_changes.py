"""`diff` and `commit`: what a container has changed, as docker's lines and as an image."""

from __future__ import annotations

import json
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import run, wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

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
    for place in ("dev", "proc", "sys"):  # are the container's to be made, not its changes
        shutil.rmtree(root / place, ignore_errors=True)
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


LINKED = """
mkdir -p /w/far/away
for f in one gone data mode
do echo $f > /w/$f; ln /w/$f /w/far/away/$f; ln /w/$f /w/far/third-$f; done
"""
LINK_STEPS = """
echo more >> /w/one
echo more >> /w/far/away/gone; rm /w/gone
chmod 600 /w/far/third-mode
mv /w/data /w/moved; echo more >> /w/moved
"""
LINKS = "cd /w; for f in $(find . -type f | sort); do stat -c '%n %i %h %a' $f; cat $f; done"


def test_the_other_names_of_a_changed_file(engine: Engine, trees: Path) -> None:
    """The upper has the names that were used; the workdir says what else shows the file."""
    engine("import", _linked(engine, trees), "tree:1")
    script = LINK_STEPS + LINKS
    before = engine("run", "--name", "one", "tree:1", "sh", "-ec", script)

    assert engine("diff", "one").splitlines() == [
        "C /w",
        "D /w/data",
        "C /w/far",
        *("C /w/far/away", *(f"C /w/far/away/{name}" for name in ("data", "gone", "mode", "one"))),
        *(f"C /w/far/third-{name}" for name in ("data", "gone", "mode", "one")),
        "D /w/gone",
        "C /w/mode",
        "A /w/moved",
        "C /w/one",
    ]
    engine("commit", "one", "linked:1")
    assert _alike(engine("run", "--rm", "linked:1", "sh", "-c", LINKS)) == _alike(before)
    engine("export", "-o", engine.directory / "tmp/all.tar", "one")
    engine("import", engine.directory / "tmp/all.tar", "exported:1")
    (engine.directory / "tmp/all.tar").unlink()
    assert _alike(engine("run", "--rm", "exported:1", "sh", "-c", LINKS)) == _alike(before)


def _linked(engine: Engine, trees: Path) -> Path:
    """A tar with files that have several names."""
    root = engine.directory / "linked"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    run(["tar", "-C", root, "-xf", trees])
    shutil.rmtree(root / "w")
    run(["sh", "-ec", LINKED.replace("/w/", f"{root}/w/")])
    archive = engine.directory / "linked.tar"
    run(["tar", "--owner=0", "--group=0", "-C", root, "-cf", archive, "."])
    shutil.rmtree(root)
    archive.chmod(0o644)
    return archive


def _alike(shown: str) -> list[tuple[str, ...]]:
    """Lines of `LINKS`, inode numbers by the order in which they come."""
    numbers: dict[str, int] = {}
    lines = []
    for line in shown.splitlines():
        name, *rest = line.split()
        if len(rest) == 3:
            rest[0] = str(numbers.setdefault(rest[0], len(numbers)))
        lines.append((name, *rest))
    return lines


@AS_ROOT
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


@AS_ROOT
def test_for_programs(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-c", "rm /w/link; chmod 600 /w/large")

    found = [json.loads(line) for line in engine("diff", "--json", "one").splitlines()]

    assert [(each["kind"], (each.get("after") or each["before"])["path"]) for each in found] == [
        ("changed", "/w"),
        ("changed", "/w/large"),
        ("deleted", "/w/link"),
    ]
    assert (found[1]["before"]["mode"], found[1]["after"]["mode"]) == ("0644", "0600")


@AS_ROOT
def test_a_name_that_is_hostile_to_terminals(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-c", r"touch $(printf '/w/\033[31mred')")

    assert "\033" not in engine("diff", "one")


@AS_ROOT
def test_no_such_container(engine: Engine) -> None:
    code, line = engine.refusal("diff", "nothing")

    assert code != 0
    assert "nothing" in line


LOOK = """
for f in $(find /w /fresh /etc/passwd | sort); do
    stat -c '%n %f %u:%g %Y' $f
    if [ -L $f ]; then readlink $f; elif [ -f $f ]; then stat -c '%h %s' $f; md5sum < $f; fi
done
"""


def test_an_image_of_every_kind_of_change(engine: Engine, image: str) -> None:
    before = engine("run", "--name", "one", image, "sh", "-ec", STEPS + LOOK)

    ident = engine("commit", "one", "changed:1").strip()

    assert ident.startswith("sha256:")
    assert engine("image", "inspect", "-f", "{{.Id}}", "changed:1").strip() == ident
    assert engine("run", "--rm", "changed:1", "sh", "-ec", LOOK) == before
    # And none of the image that it was made of.
    assert engine("run", "--rm", image, "ls", "/w") != ""
    assert "elsewhere" not in engine("run", "--rm", image, "ls", "/w")


@AS_ROOT
def test_the_layer_is_a_plain_one(engine: Engine, image: str) -> None:
    """Renamed directories are in it whole, and files whose mode alone was changed with data."""
    engine("run", "--name", "one", image, "sh", "-ec", STEPS)
    engine("commit", "one", "changed:1")

    found = {
        each["path"]: each
        for each in map(json.loads, engine("image", "files", "--json", "changed:1").splitlines())
    }
    top = found["/fresh"]["layer"]

    assert found["/w/elsewhere/sub/e"]["layer"] == found["/w/large"]["layer"] == top
    assert found["/w/kept/a"]["layer"] != top
    assert found["/w/large"]["size"] == 50_000
    members = _layer_names(engine, "changed:1")
    assert {"w/.wh.gone", "w/.wh.moved", "w/again/.wh..wh..opq"} <= members
    assert "w/kept" not in members


def _layer_names(engine: Engine, image: str) -> set[str]:
    """The names in an image's last layer, as other programs find them in an archive."""
    path = engine.directory / "tmp/saved.tar"
    engine("save", "-o", path, image)
    with tarfile.open(path) as archive:
        manifest = json.load(_member(archive, "manifest.json"))
        with tarfile.open(fileobj=_member(archive, manifest[0]["Layers"][-1])) as layer:
            names = {member.name.removeprefix("./").rstrip("/") for member in layer}
    path.unlink()
    return names


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found is not None
    return found


@AS_ROOT
def test_the_same_changes_make_the_same_image(engine: Engine, image: str) -> None:
    lines = ["echo a > /w/a", "echo b > /w/b", "mkdir /w/c; echo d > /w/c/d", "rm /w/link"]
    engine.environment["SOURCE_DATE_EPOCH"] = "1700000000"
    try:
        for name, order in (("one", lines), ("two", lines[::-1])):
            script = "; ".join(order)
            engine("run", "--name", name, image, "sh", "-c", 'eval "$0"', script)
        layers = []
        for name in ("one", "two"):
            ident = engine("commit", name).strip()
            config = json.loads(engine("image", "inspect", ident))[0]
            layers.append(config["RootFS"]["Layers"][-1])
            assert config["Created"] == "2023-11-14T22:13:20Z"
    finally:
        del engine.environment["SOURCE_DATE_EPOCH"]

    assert layers[0] == layers[1]
    old = engine("image", "files", "--json", image, "/w/kept/a")
    assert old == engine("image", "files", "--json", ident, "/w/kept/a")  # not its time either


@AS_ROOT
def test_what_the_image_says_of_itself(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", "-e", "A=1", "-w", "/w", image, "sh", "-c", "echo > /w/new")
    changes = ("-c", "ENV B=2", "-c", 'CMD ["ls"]', "-c", "LABEL k=v")
    engine("commit", "-a", "Someone", "-m", "words", *changes, "one", "said:1")

    found = json.loads(engine("image", "inspect", "said:1"))[0]
    history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "said:1")

    assert {"A=1", "B=2"} <= set(found["Config"]["Env"])
    assert (found["Config"]["Cmd"], found["Config"]["WorkingDir"]) == (["ls"], "/w")
    assert (found["Author"], found["Comment"]) == ("Someone", "words")
    assert history.splitlines()[0] == "sh -c echo > /w/new|words"
    assert len(history.splitlines()) == len(found["RootFS"]["Layers"]) == 2


@AS_ROOT
def test_an_image_of_a_container_that_changed_nothing(engine: Engine, image: str) -> None:
    engine("create", "--name", "one", image, "true")
    ident = engine("commit", "one").strip()

    assert len(json.loads(engine("image", "inspect", ident))[0]["RootFS"]["Layers"]) == 1


@AS_ROOT
def test_an_image_of_a_running_container(engine: Engine, image: str) -> None:
    script = "echo x > /w/new; echo ready; while :; do echo more >> /w/log; done"
    engine("run", "-d", "--name", "one", image, "sh", "-c", script)
    _wait_for(engine, "ready")

    engine("commit", "one", "living:1")

    assert engine("run", "--rm", "living:1", "cat", "/w/new") == "x\n"


def test_processes_stand_still_meanwhile(engine: Engine, image: str) -> None:
    """Two files that are written one after the other are alike in the image."""
    script = "i=0; while :; do i=$((i + 1)); echo $i > /w/t; mv /w/t /w/a; "
    script += "echo $i > /w/t; mv /w/t /w/b; done"
    engine("run", "-d", "--name", "one", image, "sh", "-c", script)
    wait_until(lambda: "A /w/b" in engine("diff", "one"), "both files")

    engine("commit", "one", "still:1")
    engine("commit", "--pause=false", "one", "moving:1")

    states = engine("ps", "--format", "{{.State}}")
    first, second = engine("run", "--rm", "still:1", "cat", "/w/a", "/w/b").split()
    assert int(first) - int(second) in (0, 1)
    assert states == "running\n"


@AS_ROOT
def test_an_image_whose_base_lost_its_name(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", image, "sh", "-c", "echo x > /w/new")
    engine("rmi", "-f", image)

    engine("commit", "one", "child:1")

    assert engine("run", "--rm", "child:1", "cat", "/w/new", "/w/kept/a") == "x\nkept/a\n"


@AS_ROOT
def test_a_bad_instruction_makes_nothing(engine: Engine, image: str) -> None:
    engine("create", "--name", "one", image, "true")
    code, line = engine.refusal("commit", "-c", "RUN true", "one", "bad:1")

    assert code != 0
    assert "RUN" in line
    assert engine("images", "-q", "bad") == ""


def test_all_files_as_a_tar(engine: Engine, image: str) -> None:
    engine("run", "--name", "one", "-v", "data:/w/kept", image, "sh", "-ec", STEPS)
    path = engine.directory / "tmp/all.tar"

    engine("export", "-o", path, "one")

    with tarfile.open(path) as archive:
        found = {member.name.removeprefix("./").rstrip("/"): member for member in archive}
        assert _member(archive, "w/inner/deep/b").read() == b"inner/deep/b\nmore\n"
        assert len(_member(archive, "w/large").read()) == 50_000
    path.unlink()
    assert found["w/large"].mode == 0o600
    assert (found["fresh/two"].type, found["fresh/two"].linkname) == (tarfile.LNKTYPE, "fresh/one")
    assert (found["w/link"].type, found["w/link"].linkname) == (tarfile.SYMTYPE, "inner")
    assert {"w/elsewhere/sub/e", "bin/busybox"} <= set(found)
    assert not {"w/gone", "w/moved", "w/again/f"} & set(found)


@AS_ROOT
def test_a_tar_that_cannot_be_written_leaves_nothing(engine: Engine, image: str) -> None:
    engine("create", "--name", "one", image, "true")
    code, line = engine.refusal("export", "-o", "/nowhere/all.tar", "one")

    assert code != 0
    assert "/nowhere/all.tar" in line
