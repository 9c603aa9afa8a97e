"""`overlayfs-py layer`: what its commands print, make and refuse."""

from __future__ import annotations

import gzip
import json
import os
import pty
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import Device, Dir, File, Symlink, Whiteout, build
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(scratch: Path) -> Path:
    build(
        scratch / "tree",
        {
            "etc/os-release": File(b"NAME=x\n", mtime_ns=10**18),
            "etc/link": Symlink(target="/etc/os-release"),
            "dev/null": Device(stat.S_IFCHR, 1, 3),
            "gone": Whiteout(),
            "large": File(b"data " * 100_000, mode=0o4755, uid=7, xattrs={"user.a": b"\1"}),
            "d": Dir(mode=0o1777),
        },
    )
    return scratch / "tree"


@pytest.fixture
def tar(scratch: Path, tree: Path) -> bytes:
    run(["tar", "-c", "-f", scratch / "layer.tar", "-C", tree, "etc", "large", "d"])
    return (scratch / "layer.tar").read_bytes()


def test_a_directory_packed_and_unpacked(overlayfs_py: Path, scratch: Path, tree: Path) -> None:
    said = run([overlayfs_py, "layer", "pack", tree, "-o", scratch / "a.pack"])
    run([overlayfs_py, "layer", "unpack", scratch / "a.pack", "-o", scratch / "out"])

    assert said.startswith(f"{scratch}/a.pack: 7 names, ")
    assert (scratch / "out/etc/os-release").read_bytes() == b"NAME=x\n"
    assert (scratch / "out/large").stat().st_mode == stat.S_IFREG | 0o4755
    run([overlayfs_py, "layer", "pack", scratch / "out", "-o", scratch / "b.pack"])
    done = attempt([overlayfs_py, "layer", "diff", scratch / "a.pack", scratch / "b.pack"])
    assert (done.returncode, done.stdout) == (0, "")


def test_a_tar_through_pipes(overlayfs_py: Path, scratch: Path, tar: bytes) -> None:
    packed = subprocess.run(
        [overlayfs_py, "layer", "pack", "-", "-o", "-"],
        input=gzip.compress(tar),
        capture_output=True,
        check=True,
        timeout=30,
    )
    (scratch / "p").write_bytes(packed.stdout)
    again = subprocess.run(
        [overlayfs_py, "layer", "unpack", "--tar", scratch / "p", "-o", "-"],
        capture_output=True,
        check=True,
        timeout=30,
    )

    assert b"sha256:" in packed.stderr
    assert (again.stdout, again.stderr) == (tar, b"")


@pytest.fixture
def pack(overlayfs_py: Path, scratch: Path, tree: Path) -> Path:
    run([overlayfs_py, "layer", "pack", tree, "-o", scratch / "layer.pack"])
    return scratch / "layer.pack"


def test_the_tar_comes_back_and_compressed_too(
    overlayfs_py: Path, scratch: Path, tar: bytes
) -> None:
    run([overlayfs_py, "layer", "pack", "layer.tar", "-o", "p", "--best"], cwd=scratch)
    run([overlayfs_py, "layer", "unpack", "--tar", "p", "-o", "again.tar"], cwd=scratch)
    command = [overlayfs_py, "layer", "unpack", "--tar", "--compress", "gzip", "p", "-o", "a.gz"]
    run(command, cwd=scratch)

    assert (scratch / "again.tar").read_bytes() == tar
    assert gzip.decompress((scratch / "a.gz").read_bytes()) == tar


def test_ls(overlayfs_py: Path, pack: Path) -> None:
    assert run([overlayfs_py, "layer", "ls", pack, "/etc"]) == "/etc\n/etc/link\n/etc/os-release\n"
    long = run([overlayfs_py, "layer", "ls", "-l", pack]).splitlines()
    assert "-rw-r--r--       0:0          7 2001-09-09 01:46:40 /etc/os-release" in long
    assert any(line.endswith("/etc/link -> /etc/os-release") for line in long)
    assert any(line.startswith("crw") and " 1:3 " in line for line in long)
    assert any(line.startswith("w---") and line.endswith("/gone") for line in long)


def test_ls_for_programs(overlayfs_py: Path, pack: Path) -> None:
    lines = run([overlayfs_py, "layer", "ls", "--json", pack]).splitlines()
    found = {item["path"]: item for item in map(json.loads, lines)}

    assert found["/gone"] == {"path": "/gone", "type": "whiteout"}
    assert found["/dev/null"]["device"] == "1:3"
    large = found["/large"]
    assert (large["mode"], large["uid"], large["size"]) == ("4755", 7, 500_000)
    assert large["xattrs"] == {"user.a": "01"}


def test_cat_follows_links_inside(overlayfs_py: Path, pack: Path) -> None:
    assert run([overlayfs_py, "layer", "cat", pack, "etc/link"]) == "NAME=x\n"


def test_info(overlayfs_py: Path, scratch: Path, tar: bytes, pack: Path) -> None:
    facts = json.loads(run([overlayfs_py, "layer", "info", "--json", pack]))
    assert facts["diff_id"] is None
    assert facts["bytes"] == pack.stat().st_size
    assert facts["counts"]["whiteouts"] == 1

    packed = run([overlayfs_py, "layer", "pack", "--json", "layer.tar", "-o", "p"], cwd=scratch)
    assert json.loads(packed)["tar_bytes"] == len(tar)
    shown = run([overlayfs_py, "layer", "info", scratch / "p"])
    assert "gives its tar:  yes" in shown


def test_verify_names_file_and_chunk(overlayfs_py: Path, scratch: Path, pack: Path) -> None:
    bad = scratch / "bad.pack"
    data = bytearray(pack.read_bytes())
    data[70] ^= 1
    bad.write_bytes(data)

    done = attempt([overlayfs_py, "layer", "verify", pack, bad])

    assert done.returncode == 20
    assert done.stdout == f"{pack}: whole\n"
    assert done.stderr.startswith(f"overlayfs-py: {bad}: chunk ")
    assert "; in /" in done.stderr
    told = attempt([overlayfs_py, "layer", "verify", "--json", bad])
    assert json.loads(told.stdout)["whole"] is False


def test_diff_ends_with_1(overlayfs_py: Path, scratch: Path, tree: Path, pack: Path) -> None:
    (tree / "etc/os-release").write_bytes(b"NAME=y\n")
    run([overlayfs_py, "layer", "pack", tree, "-o", scratch / "other.pack"])

    done = attempt([overlayfs_py, "layer", "diff", pack, scratch / "other.pack"])

    assert done.returncode == 1
    assert done.stdout == "C /etc/os-release (mtime_ns, content)\n"


FAILURES = {
    "not a tar": (["pack", "text", "-o", "p"], 23, "text: bad tar at byte 0: no header"),
    "nothing": (["pack", "/dev/null", "-o", "p"], 23, "/dev/null: bad tar at byte 0: nothing"),
    "cut short": (["pack", "cut", "-o", "p"], 23, "cut: bad compressed data at byte 50: it is cut"),
    "not there": (["pack", "missing", "-o", "p"], 1, "missing: No such file"),
    "nowhere to": (["pack", "empty", "-o", "no/p"], 1, "No such file or directory"),
    "not a pack": (["ls", "text"], 20, "text: it does not begin as a pack does"),
    "no such path": (["cat", "pack", "/x"], 1, "/x: No such file"),
    "a directory": (["cat", "pack", "/"], 1, "/: Is a directory"),
    "not empty": (["unpack", "pack", "-o", "."], 1, "Directory not empty"),
    "a chunk of 5K": (["pack", "empty", "-o", "p", "--chunk", "5K"], 2, "power of two"),
    "a directory to stdout": (["unpack", "pack", "-o", "-"], 2, "stdout"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_one_line_and_leaves_nothing(
    case: str, overlayfs_py: Path, scratch: Path
) -> None:
    (scratch / "text").write_text("hello " * 100)
    (scratch / "cut").write_bytes(gzip.compress(os.urandom(1000))[:50])
    (scratch / "empty").mkdir()
    run([overlayfs_py, "layer", "pack", "empty", "-o", "pack"], cwd=scratch)
    before = sorted(os.listdir(scratch))
    words, code, why = FAILURES[case]

    done = attempt([overlayfs_py, "layer", *words], cwd=scratch)

    assert done.returncode == code
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(os.listdir(scratch)) == before


def test_a_failure_leaves_the_old_pack(overlayfs_py: Path, scratch: Path, pack: Path) -> None:
    before = pack.read_bytes()
    (scratch / "text").write_text("hello " * 100)

    attempt([overlayfs_py, "layer", "pack", scratch / "text", "-o", pack])

    assert pack.read_bytes() == before


def test_a_terminal_sees_a_bar(overlayfs_py: Path, scratch: Path, tar: bytes) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [overlayfs_py, "layer", "pack", "layer.tar", "-o", "p"],
        cwd=scratch,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 4096):
            shown += piece
    except OSError:
        pass  # EIO: the other side is closed
    os.close(controller)

    assert process.wait() == 0
    assert b"layer.tar" in shown


def test_a_pack_is_not_written_to_a_terminal(overlayfs_py: Path, scratch: Path, tree: Path) -> None:
    controller, terminal = pty.openpty()
    done = subprocess.run(
        [overlayfs_py, "layer", "pack", tree, "-o", "-"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        cwd=scratch,
    )
    os.close(terminal)
    os.close(controller)

    assert done.returncode == 1
    assert done.stderr == b"overlayfs-py: stdout: this is not for a terminal\n"
