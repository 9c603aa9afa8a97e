"""`snapshot`, `restore` and `branch`, of containers that run and of others."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from tests.life.test_life import facts, start, wait_for_output
from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.life.conftest import Engine

# It has a file and a directory open, and appends to the one.
_SERVER = """
mkdir -p /srv/data/inner; echo one > /srv/data/table; rm /etc/group; echo changed >> /etc/passwd
ln /bin/busybox /srv/busybox; exec 5>>/srv/data/table 6</srv/data/inner
echo ready
while read line; do (echo $line >&5) 2>/dev/null && echo written || echo stale; done
"""


def _snapshots(engine: Engine) -> list[str]:
    home = engine.containers.parent / "snapshots"
    return sorted(os.listdir(home)) if home.exists() else []


def _directory(engine: Engine, name: str) -> Path:
    ident = engine("ps", "-aq", "--no-trunc", "--filter", f"name={name}").split()[0]
    return engine.containers / ident


def _cat(engine: Engine, name: str, path: str) -> str:
    return engine("exec", name, "cat", path)


def _put(engine: Engine, name: str, text: str, path: str) -> None:
    engine("exec", name, "sh", "-c", f"echo {text} > {path}")


def test_a_server_goes_on_over_snapshots_and_back(engine: Engine) -> None:
    start(engine, "db", "mkdir /a; exec 5>/a/log; echo ready; while :; do echo x >&5; done")
    wait_for_output(engine, "db", "ready")
    pid = facts(engine, "db")["pid"]
    _put(engine, "db", "one", "/file")

    assert engine("snapshot", "db", "first") == "first\n"

    _put(engine, "db", "two", "/file")
    engine("exec", "db", "sh", "-c", "rm /etc/group; mkdir /made")
    assert engine("snapshot", "db") == "1\n"
    _put(engine, "db", "three", "/file")
    assert engine("snapshot", "ls", "-q", "db") == "first\n1\n"

    assert engine("restore", "db", "first") == "db\n"
    assert _cat(engine, "db", "/file") == "one\n"
    assert "disk" in _cat(engine, "db", "/etc/group")
    assert engine("exec", "db", "sh", "-c", "ls -d /made || true") == ""
    # Later ones stay.
    engine("restore", "db", "1")
    assert _cat(engine, "db", "/file") == "two\n"
    assert engine("exec", "db", "ls", "-d", "/made") == "/made\n"
    engine("reset", "db")
    assert _cat(engine, "db", "/file") == "two\n"
    assert facts(engine, "db")["pid"] == pid
    directory = _directory(engine, "db")
    assert not [name for name in os.listdir(directory) if name.startswith("next")]
    assert len(_snapshots(engine)) == 2

    engine("stop", "-t", "0", "db")
    engine("start", "db")
    assert _cat(engine, "db", "/file") == "two\n"
    engine("rm", "-f", "db")
    assert _snapshots(engine) == []


@AS_ROOT
def test_open_files_go_on_over_a_snapshot(engine: Engine) -> None:
    engine("run", "-di", "--name", "db", "small:1", "sh", "-c", _SERVER)
    wait_for_output(engine, "db", "ready")
    before = engine(
        "exec", "db", "stat", "-c", "%i %Y %h %n", "/srv/data/table", "/srv", "/srv/data"
    )

    engine("snapshot", "db", "v1")

    table = ("/srv/data/table", "/srv", "/srv/data")
    assert engine("exec", "db", "stat", "-c", "%i %Y %h %n", *table) == before
    engine("exec", "db", "sh", "-c", "echo two >> /srv/data/table; echo x > /proc/1/fd/6/new")
    assert _cat(engine, "db", "/srv/data/table") == "one\ntwo\n"
    assert engine("exec", "db", "stat", "-c", "%i", "/srv/data/table") == before.split()[0] + "\n"
    engine("restore", "db", "v1")
    assert _cat(engine, "db", "/srv/data/table") == "one\n"
    assert engine("exec", "db", "ls", "/srv/data/inner") == ""


def test_a_stopped_container_has_them_too(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1", "cat", "/file")
    engine("snapshot", "one", "image")
    assert engine("snapshot", "ls", "--format", "{{.Tag}} {{.Size}}", "one") == "image 0B\n"
    script = "echo 1 > /file; ln /file /link; rm /etc/group"
    engine("run", "--name", "two", "small:1", "sh", "-c", script)
    engine("snapshot", "two", "v1")
    engine("branch", "two", "three")
    engine("start", "two")
    engine("wait", "two")
    engine("snapshot", "two", "v2")
    engine("restore", "two", "v1")
    for name in ("two", "three"):
        engine("start", name)
        engine("wait", name)
    assert "A /file\nA /link\n" in engine("diff", "two")
    assert "D /etc/group\n" in engine("diff", "three")
    engine("restore", "one", "image")
    assert engine("snapshot", "rm", "two", "v2") == "v2\n"
    assert engine("snapshot", "ls", "-q", "two") == "v1\n"


def test_branches_see_their_own_writes_only(engine: Engine) -> None:
    start(engine, "db", "mkdir /data; echo base > /data/file; echo ready; sleep 1000")
    wait_for_output(engine, "db", "ready")

    made = engine("branch", "--start", "db", "copy").strip()

    # Its command began anew: its own directory is there already.
    assert engine("ps", "-aq", "--no-trunc", "--filter", "name=copy").strip() == made
    engine("branch", "db", "third")
    _put(engine, "db", "changed", "/data/file")
    assert engine("snapshot", "db", "later") == "later\n"
    engine("rm", "-f", "db")
    assert _snapshots(engine)
    engine("start", "third")
    assert _cat(engine, "third", "/data/file") == "base\n"
    engine("rm", "-f", "third", "copy")
    assert _snapshots(engine) == []


def test_diff_commit_and_export_show_all_since_the_image(engine: Engine) -> None:
    start(engine, "db", "echo 1 > /one; rm /etc/group; echo ready; sleep 1000")
    wait_for_output(engine, "db", "ready")
    engine("snapshot", "db")
    engine("exec", "db", "sh", "-c", "echo 2 > /two; rm /bin/yes; echo '#' >> /etc/passwd")
    engine("snapshot", "db")
    engine("exec", "db", "sh", "-c", "echo 3 > /one; rm /two; mkdir /three")

    changes = engine("diff", "db").splitlines()

    assert [line for line in changes if "/dev" not in line] == [
        *("C /bin", "D /bin/yes", "C /etc", "D /etc/group", "C /etc/passwd"),
        *("A /one", "A /three"),
    ]
    engine("commit", "db", "made:1")
    shown = engine("run", "--rm", "made:1", "sh", "-c", "cat /one; ls -d /three; ls /etc /bin")
    assert shown.startswith("3\n/three\n")
    assert "group" not in shown
    assert "yes" not in shown
    engine("rmi", "made:1")


@AS_ROOT
def test_what_cannot_be_done(engine: Engine) -> None:
    start(engine, "db", "echo ready; sleep 1000")
    wait_for_output(engine, "db", "ready")
    engine("snapshot", "db", "v1")
    assert engine.refusal("snapshot", "db", "v1") == (
        1,
        "db: v1: a snapshot has this tag (remove it first)",
    )
    assert engine.refusal("restore", "db", "v2") == (1, "db: v2: no such snapshot")
    assert engine.refusal("snapshot", "rm", "db", "v2") == (1, "db: v2: no such snapshot")
    assert engine.refusal("branch", "db", "db")[0] == 1
    assert engine.refusal("branch", "--from", "v2", "db", "x1") == (1, "db: v2: no such snapshot")
    assert engine.refusal("snapshot", "db", "a/b")[0] == 1
    assert engine.refusal("snapshot", "nowhere")[0] == 1


@AS_ROOT
def test_a_running_mount_of_pyfuse3_is_refused(engine: Engine) -> None:
    engine("run", "-d", "--name", "db", "--driver", "pyfuse3", "small:1", "sleep", "1000")

    for words in (("snapshot", "db"), ("reset", "db")):
        refused = (1, "db: with the driver pyfuse3 its files stay as they are")
        assert engine.refusal(*words) == refused


def test_the_store_knows_of_them(engine: Engine) -> None:
    engine("run", "--name", "db", "small:1", "sh", "-c", "dd if=/dev/zero of=/f bs=1M count=1")
    engine("snapshot", "db", "v1")
    engine("snapshot", "db", "v2")
    held = engine("snapshot", "ls", "--json", "db").splitlines()
    assert [json.loads(line)["Tag"] for line in held] == ["v1", "v2"]
    assert [json.loads(line)["Total"][:3] for line in held] == ["1.0", "1.0"]
    assert json.loads(held[1])["Size"].endswith(("kB", "0B"))

    used = json.loads(engine("store", "df", "--json"))["Snapshots"]

    assert (used["Count"], used["Active"], used["ReclaimableBytes"]) == (2, 2, 0)
    assert used["Bytes"] >= 1 << 20
    assert engine("store", "fsck") == "nothing is wrong\n"
    home = engine.containers.parent / "snapshots"
    second = json.loads((_directory(engine, "db") / "stack.json").read_text())["layers"][0]
    shutil.rmtree(home / second)
    (home / "foreign").touch()
    found = engine.attempt("store", "fsck", "--repair").stdout
    assert f"its layer snapshots/{second} is missing" in found
    assert "file snapshots/foreign" in found
    assert engine("snapshot", "ls", "-q", "db") == "v1\n"
    engine("restore", "db", "v1")
    assert engine("store", "fsck") == "nothing is wrong\n"
    # What a killed command has left.
    (home / ("0" * 32)).mkdir()
    os.chown(home / ("0" * 32), home.stat().st_uid, home.stat().st_gid)
    engine("store", "prune")
    assert len(_snapshots(engine)) == 1


@AS_ROOT
def test_a_store_named_from_the_working_directory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor works from another one."""
    monkeypatch.chdir(engine.containers.parent.parent)
    root = f"--root={engine.containers.parent.name}"
    engine("run", root, "-d", "--name", "db", "--upper-limit", "1M", "small:1", "sleep", "100")

    engine("snapshot", root, "db", "first")
    engine("exec", root, "db", "touch", "/new")
    engine("restore", root, "db", "first")
    assert engine.attempt("exec", root, "db", "test", "-e", "/new").returncode == 1
    engine("stop", root, "-t", "0", "db")

    assert engine("ps", root, "-aq", "--filter", "status=exited") != ""


@AS_ROOT
def test_a_limit_is_that_of_the_changes_since_the_last_snapshot(engine: Engine) -> None:
    engine("run", "-d", "--name", "db", "--upper-limit", "1M", "small:1", "sleep", "100")
    fill = ("exec", "db", "dd", "if=/dev/zero", "bs=1k", "count=900")
    engine(*fill, "of=/one")
    assert "No space left" in engine.attempt(*fill, "of=/two").stderr
    engine("exec", "db", "rm", "/two")

    engine("snapshot", "db", "first")
    engine(*fill, "of=/two")
    assert "No space left" in engine.attempt(*fill, "of=/one").stderr

    engine("restore", "db", "first")
    engine(*fill, "of=/three")
    assert engine("exec", "db", "wc", "-c", "/one").split()[0] == str(900 << 10)
