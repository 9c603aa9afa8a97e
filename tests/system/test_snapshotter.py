"""`overlayfs-py snapshotter` as containerd uses it: by its socket, and the mounts it answers."""

from __future__ import annotations

import itertools
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.system.mount_table import mounts_below
from tests.system.processes import attempt, processes_naming, wait_until
from tests.system.snapshot_client import Server, mount_all, mounted, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Code = grpc.StatusCode
_PREFIX = "containerd.io/snapshot/"


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    with TemporaryDirectory(prefix="snapshotter-") as base, serving(Path(base)) as found:
        yield found


@pytest.fixture
def server(served: Server) -> Iterator[Server]:
    """One server for many tests; nothing that one has made is there for the next."""
    yield served
    for name in reversed(served.client.names()):
        served.client.remove(name)
    wait_until(lambda: not processes_naming(f"{served.root}/snapshots"), "the daemons' end")
    served.client.call("Cleanup")
    assert os.listdir(served.root / "snapshots") == os.listdir(served.root / "removed") == []


def layer(server: Server, scratch: Path, name: str, parent: str = "", **contents: str) -> None:
    """Commit a snapshot with some files."""
    mounts = server.client.prepare(f"{name}-key", parent)
    with mounted(mounts, scratch / "making") as root:
        for file, content in contents.items():
            (root / file).write_text(content)
    server.client.commit(name, f"{name}-key")


def refused(call: Callable[[], object], code: grpc.StatusCode) -> str:
    """What containerd is told."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    assert raised.value.code() is code
    details: str = raised.value.details()
    return details


def test_a_snapshot_shows_its_parents_and_takes_changes(server: Server, scratch: Path) -> None:
    layer(server, scratch, "base", old="base", kept="base")
    client = server.client

    with mounted(client.prepare("change", "base"), scratch / "merged") as root:
        (root / "old").unlink()
        (root / "new").write_text("new")
        assert stat.S_IMODE(root.stat().st_mode) == 0o755
    client.commit("changed", "change", labels={"one": "label"})
    with mounted(client.view("look", "changed"), scratch / "merged") as root:
        shown = {path.name: path.read_text() for path in root.iterdir()}
        with pytest.raises(OSError, match="Read-only"):
            (root / "more").touch()

    assert shown == {"kept": "base", "new": "new"}
    info = client.stat("changed")
    assert (info.parent, dict(info.labels)) == ("base", {"one": "label"})
    assert info.created_at == info.updated_at
    assert client.call("Usage", key="changed").inodes == 3  # with the whiteout


def test_what_cannot_be_is_told_in_containerds_classes(server: Server, scratch: Path) -> None:
    layer(server, scratch, "base")
    client = server.client
    client.prepare("active", "base")
    client.view("view", "base")
    cases = [
        (lambda: client.stat("none"), Code.NOT_FOUND, '"none" does not exist: not found'),
        (lambda: client.remove("none"), Code.NOT_FOUND, ": not found"),
        (lambda: client.prepare("x", "none"), Code.NOT_FOUND, 'missing parent "none": not found'),
        (lambda: client.prepare("x", "active"), Code.INVALID_ARGUMENT, "not committed snapshot"),
        (lambda: client.prepare("active", "base"), Code.ALREADY_EXISTS, ": already exists"),
        (lambda: client.view("base"), Code.ALREADY_EXISTS, ": already exists"),
        (lambda: client.prepare(""), Code.INVALID_ARGUMENT, "needs a name"),
        (lambda: client.commit("x", "view"), Code.FAILED_PRECONDITION, "is not active"),
        (lambda: client.commit("base", "active"), Code.ALREADY_EXISTS, 'snapshot "base"'),
        (lambda: client.commit("x", "active", "view"), Code.INVALID_ARGUMENT, "change parent"),
        (lambda: client.remove("base"), Code.FAILED_PRECONDITION, "cannot remove snapshot with"),
        (
            lambda: client.call("Mounts", key="base"),
            Code.FAILED_PRECONDITION,
            "not active or view: failed precondition",
        ),
        (
            lambda: client.prepare("x", labels={"a" * 4000: "b" * 97}),
            Code.INVALID_ARGUMENT,
            "greater than maximum size",
        ),
        (
            lambda: client.prepare("x", labels={f"{_PREFIX}max-size": "-1"}),
            Code.INVALID_ARGUMENT,
            "max-size",
        ),
        (
            lambda: client.prepare("x", labels={f"{_PREFIX}uidmapping": "0:1"}),
            Code.INVALID_ARGUMENT,
            f'label "{_PREFIX}uidmapping": 0:1',
        ),
        (lambda: client.names("name=="), Code.INVALID_ARGUMENT, "a value is missing"),
    ]

    for call, code, words in cases:
        assert words in refused(call, code)
    assert sorted(client.names()) == ["active", "base", "view"]


def test_a_commit_may_be_asked_for_again(server: Server) -> None:
    server.client.prepare("key")
    server.client.commit("layer", "key")

    server.client.commit("layer", "key")

    assert server.client.names() == ["layer"]
    assert ": not found" in refused(lambda: server.client.commit("other", "key"), Code.NOT_FOUND)
    assert ": not found" in refused(lambda: server.client.commit("layer", "none"), Code.NOT_FOUND)
    server.client.prepare("key")
    refused(lambda: server.client.commit("layer", "key"), Code.ALREADY_EXISTS)


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/", "..", "a/b\0c", "n\new: \x1b[31m", "é" * 16000]
)
def test_a_name_is_no_path(server: Server, name: str) -> None:
    before = sorted(path.name for path in server.root.parent.iterdir())

    server.client.prepare(name)
    server.client.commit(f"{name}!", name)

    assert server.client.names() == [f"{name}!"]
    assert sorted(path.name for path in server.root.parent.iterdir()) == before
    assert all(path.name.isdigit() for path in (server.root / "snapshots").iterdir())
    assert "too long" in refused(lambda: server.client.prepare("x" * 32769), Code.INVALID_ARGUMENT)
    assert "..." in refused(lambda: server.client.stat(name + "y" * 4000), Code.NOT_FOUND)


def test_labels_change_by_their_paths(server: Server) -> None:
    client = server.client
    client.prepare("key", labels={"a": "1", "b.c": "2", "d": "3", "none": ""})

    def update(labels: dict[str, str], *paths: str) -> dict[str, str]:
        info = {"name": "key", "parent": "other", "labels": labels}
        answer = client.call("Update", info=info, update_mask={"paths": paths}).info
        assert answer == client.stat("key")
        assert answer.parent == ""
        return dict(answer.labels)

    assert update({"b.c": "new", "x": "y"}, "labels.b.c", "labels.d") == {"a": "1", "b.c": "new"}
    assert update({"x": "y"}) == {"x": "y"}
    assert update({"z": "z"}, "labels") == {"z": "z"}
    assert '"parent"' in refused(lambda: update({}, "parent"), Code.INVALID_ARGUMENT)


def test_filters_choose(server: Server, scratch: Path) -> None:
    client = server.client
    layer(server, scratch, "p")
    client.prepare("a", "p", {"l": "1", "some/label": "x,y"})
    client.prepare("n", labels={"l": "2"})
    client.view("v", "p")
    chosen = {
        (): "panv",
        ("kind==active",): "an",
        ("kind==view", "kind==committed"): "pv",
        ('parent!=""',): "av",
        ("parent==p,labels.l",): "a",
        ('labels."some/label"=="x,y"',): "a",
        ("labels.l~=^[12]$, kind==active",): "an",
        ("name~=/^[pn]$/",): "pn",
        ("labels.l==3",): "",
        ("colour",): "",
    }

    assert {filters: "".join(client.names(*filters)) for filters in chosen} == chosen


def test_many_snapshots_are_listed(server: Server) -> None:
    names = [f"key {number}" for number in range(205)]
    for name in names:
        server.client.prepare(name)

    assert server.client.names() == names


def test_layers_are_unpacked_beside_each_other(server: Server, scratch: Path) -> None:
    layer(server, scratch, "base", gone="base", kept="base")
    client = server.client

    (mount,) = client.prepare("default/3/extract-17-Ab sha256:11")
    (other,) = client.prepare("default/4/extract-17-Ab")
    options = dict(option.split("=", 1) for option in mount.options)
    upper = Path(options["upperdir"])
    os.mknod(upper / "gone", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "new").write_text("new")
    client.commit("chain", "default/3/extract-17-Ab sha256:11", parent="base")

    assert mount.type == "overlay"
    assert other.type.startswith("fuse3.")
    with mounted(client.view("look", "chain"), scratch / "merged") as root:
        assert sorted(os.listdir(root)) == ["kept", "new"]
    assert client.stat("chain").parent == "base"


def test_a_size_is_the_most_that_a_snapshot_takes(server: Server, scratch: Path) -> None:
    limit = 1 << 20
    mounts = server.client.prepare("key", labels={f"{_PREFIX}max-size": str(limit)})

    with mounted(mounts, scratch / "merged") as root, (root / "file").open("wb", 0) as file:
        with pytest.raises(OSError, match="No space left"):
            file.writelines(itertools.repeat(bytes(4096), 2 * limit // 4096))
        written = (root / "file").stat().st_size

    used = server.client.call("Usage", key="key").size
    assert limit - (64 << 10) < written <= used <= limit


def test_ids_are_mapped(server: Server, scratch: Path) -> None:
    mapping = {f"{_PREFIX}{which}mapping": "0:100000:10,10:7:1" for which in ("uid", "gid")}
    mounts = server.client.prepare("key", labels=mapping)

    with mounted(mounts, scratch / "merged") as root:
        seen = root.stat()
        (root / "file").touch()
        os.chown(root / "file", 100003, 7)

    on_disk = Path(mounts[0].source, "fs/file").stat()
    assert (seen.st_uid, seen.st_gid) == (100000, 100000)
    assert (on_disk.st_uid, on_disk.st_gid) == (3, 10)


def test_mounts_outlive_the_server(scratch: Path) -> None:
    with serving(scratch) as server:
        mounts = server.client.prepare("key")
        with mounted(mounts, scratch / "merged") as root:
            (root / "before").touch()
            server.kill()
            (root / "after").touch()
            with serving(scratch) as again:
                assert again.client.names() == ["key"]
                assert again.client.call("Mounts", key="key").mounts == mounts
        with serving(scratch) as again:
            again.client.commit("layer", "key")
            with mounted(again.client.view("look", "layer"), scratch / "merged") as root:
                assert sorted(os.listdir(root)) == ["after", "before"]


def test_what_a_killed_server_was_about_to_make_goes(scratch: Path) -> None:
    with serving(scratch) as server:
        server.client.prepare("key")
        server.client.commit("layer", "key")
        server.kill()
    staged, left = server.root / "staging/half", server.root / "snapshots/1/work"
    (staged / "fs").mkdir(parents=True)
    left.mkdir(exist_ok=True)
    (server.root / "snapshots/1/layer.pack").touch()

    with serving(scratch) as again:
        assert again.client.names() == ["layer"]
    assert not staged.exists()
    assert sorted(os.listdir(server.root / "snapshots/1")) == ["fs", "lease", "snapshot.json"]


def test_a_mount_goes_with_its_snapshot_when_its_daemon_is_killed(scratch: Path) -> None:
    target = scratch / "merged"
    target.mkdir()
    with serving(scratch, says=f"{target}: its daemon was killed; unmounted") as server:
        mount_all(server.client.prepare("key"), target)
        (daemon,) = processes_naming(f"{target}")

        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not processes_naming(f"{target}"), "the daemon's end")
        assert mounts_below(target)
        server.client.remove("key")

        assert not mounts_below(target)
        server.client.call("Cleanup")
        assert list((server.root / "removed").iterdir()) == []


def test_a_mount_outlives_its_snapshot(server: Server, scratch: Path) -> None:
    layer(server, scratch, "base", file="content")
    removed = server.root / "removed"

    with mounted(server.client.prepare("key", "base"), scratch / "merged") as root:
        server.client.remove("key")
        server.client.remove("base")
        server.client.prepare("key")
        server.client.call("Cleanup")
        assert len(os.listdir(removed)) == 2
        assert (root / "file").read_text() == "content"
        (root / "new").touch()
    wait_until(lambda: not processes_naming(f"{scratch}/merged"), "the daemon's end")
    server.client.call("Cleanup")

    assert os.listdir(removed) == []
    assert server.client.names() == ["key"]


def test_layers_are_packs(scratch: Path) -> None:
    with serving(scratch, "--layers", "pack") as server:
        layer(server, scratch, "base", gone="base", kept="base")
        with mounted(server.client.prepare("change", "base"), scratch / "merged") as root:
            (root / "gone").unlink()
            os.chown(root / "kept", 3, 4)
        server.client.commit("changed", "change")

        assert sorted(os.listdir(server.root / "snapshots/2")) == [
            *("layer.pack", "lease", "snapshot.json"),
        ]
        with mounted(server.client.view("look", "changed"), scratch / "merged") as root:
            assert {path.name: path.stat().st_uid for path in root.iterdir()} == {"kept": 3}


def test_kernel_overlayfs_shows_the_same(scratch: Path) -> None:
    with serving(scratch, "--mounts", "kernel") as server:
        layer(server, scratch, "base", gone="base", kept="base")
        layer(server, scratch, "more", "base", new="new")
        with mounted(server.client.prepare("key", "more"), scratch / "merged") as root:
            kinds = {mount.kind for mount in mounts_below(root)}
            (root / "gone").unlink()
        server.client.commit("top", "key")

        assert kinds == {"overlay"}
        for name in ("base", "top"):
            with mounted(server.client.view(f"look {name}", name), scratch / "merged") as root:
                expected = {"base": ["gone", "kept"], "top": ["kept", "new"]}[name]
                assert sorted(os.listdir(root)) == expected


def test_a_damaged_record_hides_no_other(scratch: Path) -> None:
    with serving(scratch) as server:
        for name in "abc":
            server.client.prepare(name)
    record = server.root / "snapshots/2/snapshot.json"
    record.write_bytes(record.read_bytes().replace(b'"name":"b"', b'"name":"x"'))
    (server.root / "removed/9").mkdir()

    with serving(scratch, says="2/snapshot.json: its record has been changed") as again:
        assert again.client.names() == ["a", "c"]
        again.client.call("Cleanup")
    assert (server.root / "removed/9").exists()


def test_a_server_that_cannot_be_says_why(scratch: Path, overlayfs_py: Path) -> None:
    foreign = scratch / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()

    def says(root: Path | str, address: Path) -> str:
        command = [overlayfs_py, "snapshotter", "--address", address, "--root", root]
        done = attempt(command)
        assert done.returncode == 1
        return done.stderr

    assert "foreign: neither empty nor" in says(foreign, scratch / "s")
    assert "only letters, digits" in says(scratch / "a,b", scratch / "s")
    assert "longer than the name of a socket" in says(scratch / "r", scratch / ("s" * 120))
    with serving(scratch) as server:
        assert "another process serves" in says(server.root, scratch / "other")
        assert "another process listens" in says(scratch / "more", scratch / "sock")
        assert server.client.names() == []
    assert os.listdir(foreign) == ["file"]


def test_without_grpc_the_extra_is_named(scratch: Path) -> None:
    program = (
        "import sys; sys.modules['grpc'] = None; from overlayfs_py.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "snapshotter", "--address", "s", "--root", "r"]

    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "pip install 'overlayfs-py[containerd]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(scratch) == []


def test_only_its_owner_may_use_the_socket(server: Server) -> None:
    assert stat.S_IMODE((server.root.parent / "sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.root.stat().st_mode) == 0o700
