"""What `overlayfs-py chroot` stands on, as whom it runs, and with which environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    Chroot = Callable[..., subprocess.CompletedProcess[str]]

LONG_NAME = "localhost:5000/team/app:1"


@pytest.fixture(scope="module")
def store(overlayfs_py: Path) -> Iterator[Path]:
    """A store with a root under several names."""
    with TemporaryDirectory(prefix="overlayfs-cli-") as name:
        root, store = Path(name, "root"), Path(name, "store")
        make_root_filesystem(root)
        (root / "etc/passwd").write_text(
            "root:x:0:0::/:\napp:x:1000:1001::/home/app:\nbad:x:99999999999:0:::\n"
        )
        (root / "etc/group").write_text("root:x:0:\napps:x:1001:\nextra:x:1002:other,app\n")
        run([overlayfs_py, "import", "--root", store, root, "base"])
        for other in ("base:2", LONG_NAME):
            run([overlayfs_py, "tag", "--root", store, "base", other])
        yield store


@pytest.fixture
def chroot(overlayfs_py: Path, store: Path, scratch: Path) -> Chroot:
    """Run it in a directory that has a layer `patch`."""
    work = scratch / "cwd"
    (work / "patch").mkdir(parents=True)
    (work / "patch/patched").write_text("patched\n")
    environment = {"PATH": os.defpath, "HOME": str(scratch), "GIVEN": "by the caller"}

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [overlayfs_py, "chroot", "--root", store, *map(str, arguments)]
        return attempt(argv, env=environment, cwd=work)

    return call


@pytest.mark.parametrize(
    "base",
    [
        "patch:base",
        "patch:base:2",
        f"patch:{LONG_NAME}",
        f"./patch:{LONG_NAME}",
        "patch:image=base:2",
    ],
)
def test_an_image_comes_last_among_layers(chroot: Chroot, base: str) -> None:
    done = chroot(base, "cat", "/patched", "/home/data/kept")

    assert (done.returncode, done.stdout) == (0, "patched\nkept\n"), done.stderr


@pytest.mark.parametrize("base", ["base", "base:2", LONG_NAME, "image=base"])
def test_an_image_is_found_by_its_whole_name(chroot: Chroot, base: str, scratch: Path) -> None:
    """A directory of that name hides nothing."""
    (scratch / "cwd/base").mkdir()

    assert chroot(base, "cat", "/home/data/kept").stdout == "kept\n"


def test_a_path_is_told_by_its_beginning(chroot: Chroot, root: Path, scratch: Path) -> None:
    (root / "only-here").write_text("a directory\n")
    root.rename(scratch / "cwd/base")

    assert chroot("./base", "cat", "/only-here").stdout == "a directory\n"
    assert chroot(scratch / "cwd/base", "cat", "/only-here").stdout == "a directory\n"


def test_the_beginning_of_an_id_gives_way_to_a_file(
    chroot: Chroot, overlayfs_py: Path, store: Path, root: Path, scratch: Path
) -> None:
    image = run([overlayfs_py, "images", "--root", store, "-q", "base:2"]).strip()
    assert chroot(image, "true").returncode == 0
    (root / "only-here").write_text("a directory\n")
    root.rename(scratch / "cwd" / image)

    assert chroot(image, "cat", "/only-here").stdout == "a directory\n"


@pytest.mark.parametrize(
    ("base", "name"),
    [("nothing", "nothing"), ("patch:nothing:1", "nothing:1"), ("image=./patch", "./patch")],
)
def test_what_is_not_here_is_told_how_to_get(chroot: Chroot, base: str, name: str) -> None:
    done = chroot(base, "true")

    assert done.returncode == 125
    assert done.stderr == (
        f'overlayfs-py: {name}: not here: pull it with "overlayfs-py pull {name}"\n'
    )


def test_a_tag_is_not_the_beginning_of_an_id(
    chroot: Chroot, overlayfs_py: Path, store: Path
) -> None:
    tag = run([overlayfs_py, "images", "--root", store, "-q", "base:2"]).strip()
    name = f"nothing:{tag}"

    done = chroot(f"patch:{name}", "true")

    assert done.returncode == 125
    assert (
        done.stderr == f'overlayfs-py: {name}: not here: pull it with "overlayfs-py pull {name}"\n'
    )
    assert chroot(f"patch:{tag}", "cat", "/patched", "/home/data/kept").stdout == "patched\nkept\n"


def test_what_stands_before_an_image_is_a_path(chroot: Chroot) -> None:
    done = chroot("ptch:base", "true")

    assert (done.returncode, done.stderr) == (
        125,
        "overlayfs-py: ptch: No such file or directory\n",
    )


@pytest.mark.parametrize("when", ["missing", "always"])
def test_a_pull_that_fails_is_125(chroot: Chroot, when: str) -> None:
    done = chroot("--pull", when, "localhost:1/nothing", "true")

    assert done.returncode == 125
    assert "localhost:1" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("app", "uid=1000 gid=1001 groups=1001 ,1002"),
        ("1000", "uid=1000 gid=1001 groups=1001 ,1002"),
        ("app:0", "uid=1000 gid=0 groups=0"),
        ("5", "uid=5 gid=0"),
        ("5:apps", "uid=5 gid=1001"),
        ("5:6", "uid=5 gid=6"),
        (":apps", "uid=0 gid=1001"),
    ],
)
def test_the_user_is_looked_up_in_the_image(chroot: Chroot, user: str, ids: str) -> None:
    done = chroot("-u", user, "base", "id")

    assert done.returncode == 0, done.stderr
    assert set(ids.split()) <= set(re.findall(r"\w*[=,]\d+", done.stdout)), done.stdout


@pytest.mark.parametrize("user", ["nobody", "app:nobody", "99999999999", "4294967295", "-1", "bad"])
def test_a_user_that_is_none_is_refused(chroot: Chroot, user: str) -> None:
    done = chroot(f"--user={user}", "base", "id")

    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("make", ["pipe", "device", "link", "huge", "binary"])
def test_hostile_tables_hold_up_nothing(chroot: Chroot, scratch: Path, make: str) -> None:
    etc = scratch / "cwd/patch/etc"
    etc.mkdir()
    for name in ("passwd", "group"):
        if make == "pipe":
            os.mkfifo(etc / name)
        elif make == "device":
            run(["mknod", etc / name, "c", "1", "5"])
        elif make == "link":
            (etc / name).symlink_to("/dev/zero")
        elif make == "binary":
            (etc / name).write_bytes(b"\0\xff:::::::\n" + b"9" * 100_000 + b":x:" + b"9" * 9999)
        else:
            with (etc / name).open("wb") as file:
                file.truncate(1 << 40)
    done = chroot("-u", "7:8", "patch:base", "stat", "-c", "%u", "/proc/self/")

    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_home_is_the_users(chroot: Chroot) -> None:
    steps = ["sh", "-c", "echo $HOME"]

    assert chroot("-u", "app", "base", *steps).stdout == "/home/app\n"
    assert chroot("-u", "7", "base", *steps).stdout == "/\n"
    assert chroot("-u", "app", "-e", "HOME=/h", "base", *steps).stdout == "/h\n"


def test_a_variable_without_a_value_is_the_callers(chroot: Chroot, scratch: Path) -> None:
    file = scratch / "variables"
    file.write_text("# a comment\nA=from = file\n\nGIVEN\nNOT_GIVEN\n")
    shown = chroot(
        "-e", "GIVEN", "-e", "B=1", "-e", "PATH=/bin", "-e", "TERM", "base", "env"
    ).stdout
    filed = chroot("--env-file", file, "base", "env").stdout

    assert {"GIVEN=by the caller", "B=1", "PATH=/bin"} <= set(shown.splitlines())
    assert {"GIVEN=by the caller", "A=from = file"} <= set(filed.splitlines())
    assert "NOT_GIVEN" not in filed


def test_the_entrypoint_can_be_another(chroot: Chroot) -> None:
    assert chroot("--entrypoint", "echo", "base", "x").stdout == "x\n"


def test_an_image_has_its_user_and_directory(
    chroot: Chroot, overlayfs_py: Path, store: Path, root: Path
) -> None:
    changes = ["-c", "USER app", "-c", "WORKDIR /made/for/it", "-c", "ENV A=1"]
    (root / "etc/passwd").write_text("app:x:1000:1001::/home/app:\n")
    run([overlayfs_py, "import", "--root", store, *changes, root, "own:1"])
    steps = ["sh", "-c", "busybox id -u; pwd; stat -c '%u %a' .; echo $A; umask"]
    done = chroot("own:1", *steps)

    assert done.stdout.splitlines() == ["1000", "/made/for/it", "0 755", "1", "0022"], done.stderr
    assert chroot("-u", "0", "-w", "/bin", "own:1", *steps).stdout.splitlines()[:2] == ["0", "/bin"]


def test_a_read_only_root_leaves_volumes_and_tmpfs(chroot: Chroot, scratch: Path) -> None:
    shared = scratch / "shared"
    shared.mkdir()
    steps = "echo x > /v/f; echo x > /t/f; echo x > /dev/shm/f; echo x > /f"
    volume = ["-v", f"{shared}:/v"]
    done = chroot("--read-only", "--tmpfs", "/t", *volume, "base", "sh", "-c", steps)

    assert done.stderr.splitlines() == ["sh: can't create /f: Read-only file system"]
    assert (shared / "f").read_text() == "x\n"


def test_names_resolve_as_on_the_host(chroot: Chroot) -> None:
    steps = "cat /etc/resolv.conf; echo x >> /etc/resolv.conf; cat /etc/hostname; cat /etc/hosts"
    done = chroot("--hostname", "inside", "base", "sh", "-ec", steps)
    with open("/etc/resolv.conf") as file:
        resolvers = file.read()

    assert done.stdout.startswith(resolvers + "inside\n"), done.stderr
    assert "localhost" in done.stdout
    assert done.stdout.endswith("127.0.0.1\tinside\n")
    with open("/etc/resolv.conf") as file:
        assert file.read() == resolvers


def test_the_files_of_names_are_in_no_upper(overlayfs_py: Path, root: Path, scratch: Path) -> None:
    keep = scratch / "keep"
    (root / "etc/hosts").write_text("of the layer\n")
    steps = "test -s /etc/hosts; touch /etc/made; ls /etc"
    shown = run([overlayfs_py, "chroot", "--keep", keep, root, "sh", "-ec", steps])

    assert shown.split() == ["hostname", "hosts", "made", "passwd", "resolv.conf"]
    assert [path.name for path in (keep / "upper/etc").iterdir()] == ["made"]


def test_a_link_for_a_file_of_names_leads_nowhere(
    overlayfs_py: Path, root: Path, scratch: Path
) -> None:
    victim = scratch / "victim"
    victim.write_text("the host's\n")
    (root / "etc/resolv.conf").symlink_to(f"../../../../..{victim}")
    (root / "etc/hosts").symlink_to("/proc/1/root/etc/passwd")
    (root / "etc/hostname").mkdir()
    run([overlayfs_py, "chroot", root, "sh", "-c", "echo x > /etc/resolv.conf; true"])

    assert victim.read_text() == "the host's\n"


def test_a_volume_may_be_a_file(chroot: Chroot, scratch: Path) -> None:
    kept, fixed = scratch / "kept", scratch / "fixed"
    kept.write_text("old\n")
    fixed.write_text("fixed\n")
    steps = "cat /etc/passwd /new/place; echo new >> /etc/passwd; echo no >> /new/place"
    volumes = ["-v", f"{kept}:/etc/passwd", "-v", f"{fixed}:/new/place:ro"]
    done = chroot(*volumes, "base", "sh", "-c", steps)

    assert done.stdout == "old\nfixed\n", done.stderr
    assert "Read-only file system" in done.stderr
    assert kept.read_text() == "old\nnew\n"
    assert fixed.read_text() == "fixed\n"


def test_a_link_at_the_place_of_a_file_volume_leads_nowhere(chroot: Chroot, scratch: Path) -> None:
    file, victim = scratch / "file", scratch / "victim"
    file.write_text("x\n")
    (scratch / "cwd/patch/link").symlink_to(f"../../../..{victim}")
    done = chroot("-v", f"{file}:/link", "patch:base", "cat", "/link")

    assert done.stdout == "x\n", done.stderr
    assert not victim.exists()


def test_a_volume_that_is_not_there_is_refused(chroot: Chroot, scratch: Path) -> None:
    done = chroot("-v", f"{scratch}/nothing:/v", "base", "true")

    assert (done.returncode, done.stderr) == (
        125,
        f"overlayfs-py: {scratch}/nothing: No such file or directory\n",
    )
