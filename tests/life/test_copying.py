"""`cp`: files in and out of containers, by docker's rules, and never out of their roots."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.mount_table import mounts_below
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.life.conftest import Engine

_WAITS = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def here(engine: Engine) -> Iterator[Path]:
    """A directory of the caller's, with a file and a small tree in it."""
    path = engine.directory / "here"
    (path / "tree/sub").mkdir(parents=True)
    (path / "file").write_text("file\n")
    (path / "file").chmod(0o640)
    (path / "tree/sub/deep").write_text("deep\n")
    (path / "tree/sub/deep").chmod(0o4755)
    os.utime(path / "tree/sub/deep", ns=(1, 1_000_000_000_123_456_789))
    os.link(path / "tree/sub/deep", path / "tree/twin")
    (path / "tree/link").symlink_to("sub")
    if engine.is_user:
        for each in (path, *path.rglob("*")):
            shutil.chown(each, "nobody", "nogroup")
        (path / "tree/sub/deep").chmod(0o4755)  # which chown(2) has taken away
        (path / "file").chmod(0o640)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["created", "running"])
def one(engine: Engine, request: pytest.FixtureRequest) -> str:
    """A container with a volume, stopped or running; a copy is the same for both."""
    return _made(engine, is_running=request.param == "running")


def _made(engine: Engine, *, is_running: bool) -> str:
    words = ("run", "-d") if is_running else ("create",)
    engine(*words, "--name", "one", "-v", "data:/data", "small:1", *_WAITS)
    return "one"


def _seen(engine: Engine, container: str, script: str) -> str:
    """What a command in the container says, which is started for it if needed."""
    if engine("inspect", "-f", "{{.State.Status}}", container).strip() != "running":
        engine("start", container)
    return engine("exec", container, "sh", "-c", script)


def test_in_and_out(engine: Engine, one: str, here: Path) -> None:
    engine("cp", here / "file", f"{one}:/etc/new")  # a name of its own
    engine("cp", here / "file", f"{one}:/data")  # into a directory: a volume
    engine("cp", here / "tree", f"{one}:/srv")  # a new directory
    engine("cp", here / "tree", f"{one}:/srv")  # into it, now that it is there
    engine("cp", f"{here}/tree/.", f"{one}:/data/")  # what is in it
    engine("cp", f"{one}:/srv", here / "back")
    engine("cp", f"{one}:/data/file", f"{here}/back/")

    script = (
        "cd /; stat -c '%n %A %u:%g' etc/new data/file srv/sub/deep data/sub/deep srv/tree/twin"
    )
    assert _seen(engine, one, script).splitlines() == [
        "etc/new -rw-r----- 0:0",
        "data/file -rw-r----- 0:0",
        "srv/sub/deep -rwsr-xr-x 0:0",
        "data/sub/deep -rwsr-xr-x 0:0",
        "srv/tree/twin -rwsr-xr-x 0:0",
    ]
    assert _seen(engine, one, "stat -c %h /srv/tree/twin; readlink /data/link") == "2\nsub\n"
    back = here / "back"
    assert (back / "file").read_text() == "file\n"
    assert (back / "tree/link").readlink() == Path("sub")
    status = (back / "tree/twin").stat()
    assert status.st_ino == (back / "tree/sub/deep").stat().st_ino
    # Times are exact; rights that root had inside are not the caller's.
    assert status.st_mtime_ns == 1_000_000_000_123_456_789
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert status.st_uid == here.stat().st_uid
    assert mounts_below(engine.directory) == []


def test_a_tar_both_ways(engine: Engine) -> None:
    one = _made(engine, is_running=not engine.is_user)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("some/where")
        member.size, member.uid, member.mode = 3, 33, 0o600
        tar.addfile(member, io.BytesIO(b"tar"))

    _pipe(engine, packed.getvalue(), "cp", "-", f"{one}:/data")
    if engine.is_user:  # who has one owner
        assert b"cannot belong to 33:0" in _refused(engine, packed, "-a", f"{one}:/home")
    else:
        _pipe(engine, packed.getvalue(), "cp", "-a", "-", f"{one}:/home")
        owner = _seen(engine, one, "stat -c '%u %a' /home/some/where; cat /home/some/where")
        assert owner.split() == ["33", "600", "tar"]
    out = _pipe(engine, b"", "cp", f"{one}:/data/some", "-")

    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert [(each.name, each.uid) for each in tar] == [("some", 0), ("some/where", 0)]
    no_directory = _refused(engine, packed, f"{one}:/etc/passwd")
    assert no_directory == b"overlayfs-py: one:/etc/passwd: it must be a directory\n"


def _refused(engine: Engine, packed: io.BytesIO, *words: str) -> bytes:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _pipe(engine, packed.getvalue(), "cp", *words[:-1], "-", words[-1])
    error: bytes = caught.value.stderr
    return error


def _pipe(engine: Engine, data: bytes, *words: str) -> bytes:
    argv = engine.argv(*words)
    done = subprocess.run(
        argv, env=engine.environment, input=data, capture_output=True, timeout=60, check=True
    )
    return done.stdout


@AS_ROOT
def test_what_docker_refuses(engine: Engine, here: Path) -> None:
    engine("create", "--name", "one", "small:1", "true")
    cases = {
        (here / "file", "one:/nope/"): "one:/nope/: no such directory",
        (here / "file", "one:/no/where"): "one:/no/where: No such file or directory",
        (here / "tree", "one:/etc/passwd"): "a directory cannot be copied to a file",
        (here / "file", "one:/etc/passwd/"): "one:/etc/passwd/: Not a directory",
        (here / "absent", "one:/"): f"{here}/absent: No such file or directory",
        (f"{here}/file/", "one:/"): f"{here}/file/: Not a directory",
        ("one:/absent", here): "one:/absent: No such file or directory",
        ("one:/etc/", here / "file"): "a directory cannot be copied to a file",
        ("one:/etc/passwd", here / "no/where"): f"{here}/no/where: No such file or directory",
        ("two:/etc", here): "two: no such container",
        ("one:/etc", "one:/srv"): "between containers",
        (here / "file", here / "tree"): "one of the two must be CONTAINER:PATH",
    }
    for (source, destination), expected in cases.items():
        code, line = engine.refusal("cp", source, destination)
        assert (code in (1, 2), expected in line) == (True, True), (source, destination, line)
    (here / "clash/passwd").mkdir(parents=True)
    assert "a directory" in engine.refusal("cp", f"{here}/clash/.", "one:/etc")[1]


def test_links_lead_nowhere_out_of_the_root(engine: Engine, here: Path) -> None:
    """CVE-2018-15664 and its kind, in both directions."""
    one = _made(engine, is_running=True)
    secret = here / "secret"
    secret.write_text("secret\n")
    inside = f"""
    rm -rf /data/*; ln -s {here} /evil; ln -s ../../../../../../..{here} /up
    ln -s /proc/1/root/etc/passwd /magic; mkdir /tree; ln -s {here} /tree/out
    """
    _seen(engine, one, inside)

    for path in ("evil/secret", "up/secret", "magic"):
        assert engine.refusal("cp", "-L", f"{one}:/{path}", here / "stolen")[0] == 1
    for path in ("evil/planted", "up/planted"):
        assert engine.refusal("cp", here / "file", f"{one}:/{path}")[0] == 1
    engine("cp", f"{one}:/tree", here / "copied")
    assert (here / "copied/out").readlink() == here  # copied as it is
    # And what a copy has brought does not lead the next one astray.
    _seen(engine, one, "rm /tree/out; mkdir /tree/out; echo x > /tree/out/planted")
    assert engine.refusal("cp", f"{one}:/tree/.", here / "copied")[0] == 1
    assert sorted(os.listdir(here)) == ["copied", "file", "secret", "tree"]

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("way/planted"))
    assert b"data/way/planted: Not a directory" in _refused(engine, packed, f"{one}:/data")
    assert "planted" not in _seen(engine, one, "ls /etc")


@AS_ROOT
def test_a_link_at_the_end(engine: Engine, here: Path) -> None:
    engine("create", "--name", "one", "small:1", "true")
    (here / "short").symlink_to("file")
    engine("cp", here / "short", "one:/as-link")
    engine("cp", "-L", here / "short", "one:/as-file")
    (here / "to").symlink_to("target")
    engine("cp", "one:/as-file", here / "to")  # a link that leads nowhere yet

    assert (here / "target").read_text() == "file\n"
    assert (here / "to").is_symlink()
    names = _pipe(engine, b"", "cp", "one:/", "-")
    with tarfile.open(fileobj=io.BytesIO(names)) as tar:
        found = {each.name: each for each in tar}
    assert found["as-link"].linkname == "file"
    assert found["as-file"].isreg()


def test_no_code_of_the_container_is_run(engine: Engine) -> None:
    """CVE-2019-14271 was a library of the image that docker's copying process loaded."""
    one = _made(engine, is_running=True)
    argv = engine.argv("cp", "-", f"{one}:/data")
    with subprocess.Popen(argv, env=engine.environment, stdin=subprocess.PIPE) as copying:
        wait_until(lambda: len(_family(copying.pid)) > 1, "a process in the container")
        roots = {os.readlink(f"/proc/{pid}/root") for pid in _family(copying.pid)}
        assert copying.stdin is not None
        copying.stdin.close()
    assert roots == {"/"}


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        children = Path(f"/proc/{each}/task/{each}/children")
        found += map(int, children.read_text().split() if children.exists() else ())
    return found


def test_read_only_places(engine: Engine, here: Path) -> None:
    options = ("--name", "one", "--read-only", "-v", "data:/data", "-v", f"{here}:/seen:ro")
    engine("create", *options, "--tmpfs", "/tmp", "small:1", *_WAITS)
    for _ in range(2):
        for path in ("etc", "seen"):
            code, line = engine.refusal("cp", here / "file", f"one:/{path}/new")
            assert (code, line) == (1, f"one:/{path}/new: Read-only file system")
        assert "tmpfs" in engine.refusal("cp", here / "file", "one:/tmp/new")[1]
        engine("cp", here / "file", "one:/data/new")
        engine("start", "one")


def test_a_file_of_the_host_is_written_to(engine: Engine, here: Path) -> None:
    engine("create", "--name", "one", "-v", f"{here}/file:/etc/passwd", "small:1", "true")
    (here / "more").write_text("more\n")
    engine("cp", here / "more", "one:/etc/passwd")

    assert (here / "file").read_text() == "more\n"


def test_a_start_waits_for_a_copy(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1", "true")
    with subprocess.Popen(
        engine.argv("cp", "-", "one:/etc"), env=engine.environment, stdin=subprocess.PIPE
    ) as copying:
        wait_until(lambda: len(_family(copying.pid)) > 3, "the mount")
        starting = subprocess.Popen(engine.argv("start", "-a", "one"), env=engine.environment)
        wait_until(lambda: len(_family(starting.pid)) > 1, "the monitor that waits")
        assert starting.poll() is None
        copying.kill()
    assert starting.wait(timeout=30) == 0
