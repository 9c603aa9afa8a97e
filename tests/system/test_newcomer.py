"""A newcomer's first commands, in the places where newcomers are: what each of them prints.

`pytest -rP tests/system/test_newcomer.py` shows all of it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.engine import make_root_filesystem
from tests.system.processes import attempt, run
from tests.system.unprivileged import as_user, device_for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.system.engine import Engine
    from tests.system.processes import Word

_CHECKOUT = Path(__file__).parents[2]
# What every mount by fusermount3 warns of where /etc/fuse.conf is as Debian ships it.
_ALONE = (
    "overlayfs-py: the mount is for this user alone: /etc/fuse.conf has no line user_allow_other\n"
)
_END = "--- {number} ended with {status}"

# In a directory with a small root filesystem `root`, a layer `base` and an empty HOME.
_STEPS = (
    "overlayfs-py --version",
    "overlayfs-py doctor",
    "overlayfs-py chroot root -- sh -c 'id -u; echo x > /made; cat /made; ls /proc/meminfo'",
    "overlayfs-py mount -o lowerdir=base,upperdir=upper,workdir=work mnt",
    "cat mnt/file && rm mnt/file && echo new > mnt/new && ls mnt",
    "overlayfs-py umount mnt",
    "overlayfs-py import root small",
    "overlayfs-py image ls --format '{{.Repository}}:{{.Tag}}'",
    "overlayfs-py image cat small /etc/passwd",
    "overlayfs-py chroot small -- cat /home/data/kept",
    "overlayfs-py image mount small mnt",
    "cat mnt/home/data/kept",
    "overlayfs-py umount mnt",
    "tar -C root -c . | overlayfs-py layer pack - -o a.pack && overlayfs-py layer ls a.pack etc",
    "overlayfs-py rmi small",
    "overlayfs-py mount -o lowerdir=nowhere mnt",
    "overlayfs-py runn",
)


class Said(NamedTuple):
    """What a step printed, stdout and stderr together, and its exit code."""

    text: str
    status: int


def _script(directory: Path | str) -> str:
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = [
        f"cd {directory}; export PATH={path} HOME=$PWD/home TMPDIR=$PWD/tmp",
        "export PYTHONDONTWRITEBYTECODE=1; exec 2>&1",
    ]
    for number, step in enumerate(_STEPS, 1):
        lines += [f"( {step} )", f"echo '{_END.format(number=number, status='')}'$?"]
    return "\n".join(lines)


def _read(output: str) -> dict[int, Said]:
    said = {}
    for text, number, status in re.findall(r"(.*?)--- (\d+) ended with (\d+)\n", output, re.DOTALL):
        said[int(number)] = Said(text.replace(_ALONE, ""), int(status))
        print(f"$ {_STEPS[int(number) - 1]}\n{text}[{status}]")
    assert sorted(said) == list(range(1, len(_STEPS) + 1)), output
    return said


def _lay_out(directory: Path) -> None:
    make_root_filesystem(directory / "root")
    for name in ("base", "upper", "work", "mnt", "home", "tmp"):
        (directory / name).mkdir()
    (directory / "base/file").write_text("old\n")


@pytest.fixture
def place(scratch: Path) -> Path:
    _lay_out(scratch)
    return scratch


def _own(place: Path) -> None:
    run(["chown", "--recursive", "--no-dereference", "65534:65534", place])


def _go_through(place: Path, around: Sequence[Word] = ()) -> dict[int, Said]:
    done = attempt([*around, "sh", "-c", _script(place)], timeout=180)
    return _read(done.stdout)


def assert_all_is_well(said: dict[int, Said]) -> None:
    assert_files_are_well(said)
    assert_chroot_is_well(said)
    assert said[4] == ("", 0)
    assert said[5] == ("old\nnew\n", 0)
    assert said[6] == said[13] == ("", 0)
    assert said[11].status == 0
    assert said[12] == ("kept\n", 0)
    assert said[16].status == 1
    assert said[16].text.endswith("nowhere: No such file or directory\n")


def assert_files_are_well(said: dict[int, Said]) -> None:
    """What needs no mount."""
    assert said[1].text.startswith("overlayfs-py ")
    assert said[7].status == 0
    assert said[8] == ("small:latest\n", 0)
    assert said[9] == ("root:x:0:0:root:/:/bin/sh\n", 0)
    assert said[14].status == 0
    assert "passwd" in said[14].text
    assert said[15].status == 0
    assert said[17].status == 2
    assert not [each for each in said.values() if "Traceback" in each.text]


def assert_chroot_is_well(said: dict[int, Said]) -> None:
    assert said[3].text.splitlines()[-3:] == ["0", "x", "/proc/meminfo"]
    assert said[10].text.endswith("kept\n")
    assert said[3].status == said[10].status == 0


def assert_refused_in_a_line(said: dict[int, Said], steps: set[int]) -> None:
    """One line for each, and nothing of a traceback."""
    for number in steps:
        assert said[number].status in {1, 125}, _STEPS[number - 1]
        assert re.fullmatch(r"overlayfs-py: [^\n]+\n", said[number].text), said[number].text


def test_root(place: Path) -> None:
    assert_all_is_well(_go_through(place))


def test_a_user_without_subordinate_ids(place: Path) -> None:
    _own(place)
    with device_for_everybody():
        said = _go_through(place, as_user([]))

    assert_all_is_well(said)
    assert "no subordinate ids" in said[2].text


@pytest.fixture
def subordinate_ids(tmp_path: Path) -> Sequence[str]:
    """Words before a command that give nobody ranges of ids; the machine's own files stay."""
    (tmp_path / "ids").write_text("nobody:200000:65536\n")
    bind = " && ".join(f"mount --bind {tmp_path}/ids /etc/{name}" for name in ("subuid", "subgid"))
    return ["unshare", "--mount", "sh", "-ec", f'{bind}; exec "$@"', "sh"]


def test_a_user_with_subordinate_ids(place: Path, subordinate_ids: Sequence[str]) -> None:
    _own(place)
    with device_for_everybody():
        said = _go_through(place, [*subordinate_ids, *as_user([])])

    assert_all_is_well(said)
    assert "65536 uids and 65536 gids" in said[2].text


def test_a_user_namespace(place: Path) -> None:
    _own(place)
    with device_for_everybody():
        inside = ["unshare", "--user", "--map-root-user", "--mount"]
        said = _go_through(place, as_user(inside))

    assert_all_is_well(said)


_RUN = ("podman", "run", "--rm", "--pids-limit=-1")


@pytest.fixture
def container(engine: Engine, scratch: Path) -> Iterator[list[Word]]:
    """What runs `sh -c SCRIPT` in a container whose programs and Python are this machine's."""
    root = scratch / "container"
    for name in ("usr", "etc", "tmp", "proc", "sys", "dev", "var/tmp", "run"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "ld.so.cache", "fuse.conf"):
        shutil.copy(f"/etc/{name}", root / "etc")
    (root / "etc/mtab").symlink_to("../proc/self/mounts")
    # On a volume: the container's own root is a mount of ours, where no upper can lie.
    _lay_out(scratch / "place")
    run(["chmod", "--recursive", "a+rwX", scratch / "place"])
    tar = scratch / "container.tar"
    run(["tar", "--create", "--file", tar, "--directory", root, "."])
    engine("podman", "import", tar, "newcomer")
    shared = [word for path in ("/usr", _CHECKOUT) for word in ("--volume", f"{path}:{path}:ro")]
    yield [*_RUN, *shared, f"--volume={scratch}/place:/place"]
    engine("podman", "rmi", "--all", "--force")


def _in_container(engine: Engine, container: list[Word], *flags: str) -> dict[int, Said]:
    return _read(engine(*container, *flags, "newcomer", "sh", "-c", _script("/place")) + "\n")


def test_a_container_without_the_device(engine: Engine, container: list[Word]) -> None:
    said = _in_container(engine, container)

    assert_files_are_well(said)
    assert_refused_in_a_line(said, {3, 4, 10, 11})
    assert "--device /dev/fuse" in said[2].text
    assert said[2].status == 1


def test_a_container_with_the_device(engine: Engine, container: list[Word]) -> None:
    said = _in_container(engine, container, "--device=/dev/fuse")

    assert_files_are_well(said)
    assert_chroot_is_well(said)
    assert_refused_in_a_line(said, {4, 11})
    assert "--cap-add SYS_ADMIN" in said[2].text
    assert said[2].status == 0


def test_a_user_of_a_container_with_the_device(engine: Engine, container: list[Word]) -> None:
    with device_for_everybody():
        said = _in_container(engine, container, "--device=/dev/fuse", "--user=65534")

    assert_files_are_well(said)
    assert_chroot_is_well(said)
    assert_refused_in_a_line(said, {4, 11})
    assert "--cap-add SYS_ADMIN" in said[2].text


def test_a_container_that_may_mount(engine: Engine, container: list[Word]) -> None:
    said = _in_container(engine, container, "--device=/dev/fuse", "--cap-add=SYS_ADMIN")

    assert_all_is_well(said)
