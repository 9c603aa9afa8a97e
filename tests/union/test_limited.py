"""An upper with a limit: what is counted is what is there, and no byte more is let in."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts
from overlayfs_py.union.core import Union
from overlayfs_py.union.limited import LimitedUnion
from overlayfs_py.union.values import Volume
from tests.support.trees import Dir, File, HardLink, Symlink
from tests.union.conftest import open_files
from tests.union.refusal import refused
from tests.union.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.union.core import Node as UnionNode
    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_MIB = 1 << 20
_PAGE = 4096
_LOWER: dict[str, Node] = {
    "d/small": File(b"small"),
    "d/large": File(b"x" * 100_000),
    "d/h1": File(b"hard" * 3000),
    "d/sub/h2": HardLink("d/h1"),
    "d/link": Symlink("t" * 100),
    "d/deep/er/file": File(b"deep"),
    "e/f": File(b"f" * 5000),
    "g": Dir(),
}


@pytest.fixture(scope="module", params=["tmpfs", "ext4"])
def filesystem(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """One where directories take no blocks, and one where they do."""
    base = tmp_path_factory.mktemp("filesystem")
    target = base / "target"
    target.mkdir()
    if request.param == "tmpfs":
        mounts.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, b"size=64m")
    else:
        image = base / "image"
        image.touch()
        os.truncate(image, 64 * _MIB)
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", image], check=True)
        # What it allocates late would change what is counted between two steps.
        subprocess.run(["mount", "-o", "loop,nodelalloc", image, target], check=True)
    yield target
    mounts.umount(os.fsencode(target), mounts.MNT_DETACH)


@pytest.fixture
def place(filesystem: Path) -> Path:
    """A directory of one test's, which the next one does not see."""
    found = Path(tempfile.mkdtemp(dir=filesystem))
    found.chmod(0o755)
    return found


def _open(make_world: MakeWorld, place: Path, limit: int, **options: object) -> World:
    (place / "upper").mkdir()
    (place / "lower").mkdir()
    return make_world(_LOWER, upper=place / "upper", upper_limit=limit, volatile=True, **options)


def _du(world: World) -> int:
    """What du(1) counts of the upper and the workdir, in bytes."""
    seen = {}
    for top in (world.upper, world.work):
        seen[top.stat().st_ino] = top.stat().st_blocks
        for directory, names, files in os.walk(top):
            for name in (*names, *files):
                found = os.lstat(os.path.join(directory, name))
                seen[found.st_ino] = found.st_blocks
    return sum(seen.values()) * 512


def _used(world: World) -> int:
    assert isinstance(world.union, LimitedUnion)
    return world.union.account.used_bytes


def _left(world: World) -> int:
    found = world.union.statistics(world.union.root)
    return found.f_bavail * found.f_frsize


class _Steps:
    """Random changes of all kinds below a world's root."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self._files = ["d/small", "d/large", "d/h1", "d/sub/h2", "e/f", "d/deep/er/file"]
        self._directories = ["", "d", "d/sub", "d/deep", "d/deep/er", "e", "g"]
        self._serial = 0

    def one(self) -> str:
        kinds: list[Callable[[], object]] = [
            *(self._write, self._write, self._put, self._put, self._truncate, self._punch),
            *(self._unlink, self._mkdir, self._rename, self._rename, self._xattr, self._link),
            *(self._rmdir, self._allocate, self._chmod, self._symlink, self._exchange, self._copy),
            *(self._move_directory, self._temporary),
        ]
        step = self._random.choice(kinds)
        try:
            step()
        except OSError as error:
            return f"{step.__name__}: {errno.errorcode[error.errno or 0]}"
        return step.__name__

    def _file(self) -> str:
        return self._random.choice(self._files)

    def _new(self) -> str:
        self._serial += 1
        return f"{self._random.choice(self._directories)}/new{self._serial}".lstrip("/")

    def _write(self) -> None:
        offset = self._random.choice([0, 100, _PAGE, 50_000, 300_000])
        data = b"w" * self._random.choice([1, 5000, 70_000])
        self._world.union.write(self._world.at(self._file()), offset, data)

    def _put(self) -> None:
        path = self._new()
        self._world.put(path, b"p" * self._random.choice([0, 10, 30_000]))
        self._files.append(path)

    def _truncate(self) -> None:
        self._world.change(self._file(), size=self._random.choice([0, 10, 60_000, 500_000]))

    def _punch(self) -> None:
        self._world.union.allocate(self._world.at(self._file()), 3, _PAGE, 8 * _PAGE)

    def _allocate(self) -> None:
        mode, at = self._random.choice([0, 1]), self._random.choice([0, 6000])
        self._world.union.allocate(self._world.at(self._file()), mode, at, 90_000)

    def _copy(self) -> None:
        source, target = self._world.at(self._file()), self._world.at(self._file())
        if source is not target:
            self._world.union.copy_range(source, 0, target, 200_000, 40_000)

    def _unlink(self) -> None:
        path = self._file()
        self._world.unlink(path)
        self._files.remove(path)

    def _mkdir(self) -> None:
        path = self._new()
        self._world.mkdir(path)
        self._directories.append(path)

    def _rmdir(self) -> None:
        path = self._random.choice(self._directories[1:])
        self._world.rmdir(path)
        self._directories.remove(path)

    def _rename(self) -> None:
        old, new = self._file(), self._random.choice([self._new(), self._file()])
        self._world.rename(old, new)
        self._files.remove(old)
        if new not in self._files:
            self._files.append(new)

    def _exchange(self) -> None:
        self._world.rename(self._file(), self._file(), 2)

    def _move_directory(self) -> None:
        old, new = self._random.choice(self._directories[1:]), self._new()
        self._world.rename(old, new)
        for paths in (self._files, self._directories):
            paths[:] = [
                new + path.removeprefix(old) if f"{path}/".startswith(f"{old}/") else path
                for path in paths
            ]

    def _xattr(self) -> None:
        value = b"v" * self._random.choice([3, 3000])
        self._world.set_xattr(self._file(), b"user.x", value)

    def _link(self) -> None:
        path = self._new()
        self._world.link(self._file(), path)
        self._files.append(path)

    def _chmod(self) -> None:
        self._world.change(self._random.choice([*self._files, *self._directories]), mode=0o700)

    def _symlink(self) -> None:
        self._world.symlink(b"t" * self._random.choice([3, 2000, 4095]), self._new())

    def _temporary(self) -> None:
        parent = self._world.at(self._random.choice(self._directories))
        node = self._world.hold(self._world.union.create_temporary(parent, 0o600, ROOT))
        self._world.union.write(node, 0, b"t" * 20_000)


@pytest.mark.parametrize("options", [{}, {"metacopy": True}], ids=["data", "metacopy"])
@pytest.mark.parametrize("limit", [1 << 40, _MIB], ids=["far", "near"])
def test_what_is_counted_is_what_is_there(
    place: Path, make_world: MakeWorld, limit: int, options: dict[str, object]
) -> None:
    for seed in range(3):
        (place / f"{seed}").mkdir()
        world = _open(make_world, place / f"{seed}", limit, **options)
        steps = _Steps(world, seed)
        for number in range(120):
            done = steps.one()
            world.forget()
            assert (number, done, _used(world)) == (number, done, _du(world))
            assert _used(world) <= limit
        world.reopen()
        assert _used(world) == _du(world)
        world.close()


def _fill(world: World, node: UnionNode, offset: int = 0) -> int:
    """Write until there is no room; returns where that ended."""
    with refused(errno.ENOSPC):
        while True:
            offset += world.union.write(node, offset, b"f" * 130_000)
    return offset


def test_the_last_block_is_filled_and_nothing_more(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    node = world.put("file")

    end = _fill(world, node)

    assert 0 <= 3 * _MIB - _du(world) < _PAGE
    assert _left(world) == 0
    assert world.stat("file").size == end
    assert world.read("file") == b"f" * _MIB
    # What has its blocks can be written all the same.
    world.write("file", b"again")
    with refused(errno.ENOSPC):
        world.put("other", b"x")


def test_space_comes_back(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    before = _used(world)
    node = world.put("file")
    _fill(world, node)

    world.union.allocate(node, 3, 0, _MIB)
    assert _left(world) >= _MIB - _PAGE  # ext4 takes a block to remember more extents
    _fill(world, node)
    world.change("file", size=_MIB)
    assert _left(world) >= _MIB - _PAGE  # ext4 takes a block to remember more extents
    world.put("empty")
    _fill(world, node, _MIB)
    world.rename("empty", "file")
    assert _left(world) == 0  # somebody has it open
    world.forget()
    assert before <= _used(world) <= before + 2 * _PAGE
    assert _used(world) == _du(world)


def test_a_removed_file_counts_as_long_as_it_is_used(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    world.put("other")
    _fill(world, world.put("file"))

    world.unlink("file")
    assert _left(world) == 0
    with refused(errno.ENOSPC):
        world.write("other", b"x")
    with refused(errno.ENOSPC):
        world.write("d/large", b"x")
    world.forget()

    assert _left(world) > 2 * _MIB
    world.write("other", b"x")


def test_holes_count_nothing(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, _MIB)
    node = world.put("file")

    world.union.write(node, 1 << 33, b"x")
    world.change("file", size=1 << 34)

    assert _used(world) == _du(world) < _MIB


def test_a_copy_that_does_not_fit_leaves_nothing(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    _fill(world, world.put("file"))
    before = _du(world)
    changes: list[Callable[[], object]] = [
        lambda: world.write("d/large", b"x"),
        lambda: world.change("d/large", mode=0o600),
        lambda: world.rename("d/large", "d/moved"),
        lambda: world.link("d/large", "d/other"),
        lambda: world.set_xattr("d/large", b"user.x", b"1"),
        lambda: world.union.open_file(world.at("d/large"), write=True),
        lambda: world.union.allocate(world.at("d/large"), 0, 0, 1),
    ]

    for change in changes:
        with refused(errno.ENOSPC):
            change()
        assert _du(world) == before

    assert _used(world) == before
    assert os.listdir(world.upper) == ["file"]
    assert world.stat("d/large").size == 100_000


def test_a_copy_of_a_sparse_file_takes_what_its_data_takes(
    place: Path, make_world: MakeWorld
) -> None:
    (place / "layer").mkdir()
    with (place / "layer/sparse").open("wb") as file:
        file.seek(1 << 25)
        file.write(b"x" * 1000)
    (place / "upper").mkdir()
    world = make_world(place / "layer", upper=place / "upper", upper_limit=_MIB, volatile=True)

    world.write("sparse", b"y")

    assert world.stat("sparse").size == (1 << 25) + 1000
    assert _used(world) == _du(world) < _MIB


def test_copies_under_way_are_counted(place: Path, make_world: MakeWorld) -> None:
    """Two copies of which one fits: the second is refused before it begins."""
    (place / "layer").mkdir()
    for name in "ab":
        (place / "layer" / name).write_bytes(bytes(600_000))
    (place / "upper").mkdir()
    world = make_world(place / "layer", upper=place / "upper", upper_limit=_MIB, volatile=True)

    copy = world.union.begin_copy_up(world.at("a"))
    assert copy is not None
    with refused(errno.ENOSPC):
        world.union.begin_copy_up(world.at("b"))
    world.union.abort_copy_up(copy)

    world.write("b", b"x")
    assert _used(world) == _du(world)


def test_a_range_is_allocated_where_it_fits(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    node = world.put("file")
    world.union.allocate(node, 0, 0, 2 * _MIB)
    assert _left(world) <= _MIB

    with refused(errno.ENOSPC):
        world.union.allocate(node, 0, 0, 4 * _MIB)
    assert world.stat("file").size == 2 * _MIB
    _fill(world, world.put("other"))
    # It has its blocks: neither this nor a write takes more.
    world.union.allocate(node, 0, _MIB, _MIB)
    world.write("file", b"x" * 100_000)

    assert _used(world) == _du(world) <= 3 * _MIB


def test_what_is_deleted_needs_no_room(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    world.write("d/small", b"x")  # its directory is there
    _fill(world, world.put("file"))

    world.unlink("d/large")
    world.rmdir("g")

    assert world.find("d/large") is None
    assert _used(world) == _du(world) <= 3 * _MIB


def test_an_upper_above_its_limit_can_only_shrink(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    _fill(world, world.put("file"))
    world.close()
    world.spec = world.spec._replace(upper_limit=_MIB, volatile=True)
    world.reopen()

    assert _left(world) == 0
    with refused(errno.ENOSPC):
        world.put("other")
    world.write("file", b"x")
    world.unlink("file")
    world.forget()
    world.put("other", b"x")


def test_volumes_do_not_count(place: Path, make_world: MakeWorld) -> None:
    (place / "volume").mkdir()
    volume = Volume(os.fsencode(place / "volume"), b"/data")
    world = _open(make_world, place, _MIB, volumes=(volume,))
    before = _used(world)

    world.put("data/large", bytes(5 * _MIB))
    world.mkdir("data/below")
    world.rename("data/large", "data/below/moved")

    assert _used(world) == before == _du(world)
    assert world.union.statistics(world.at("data")).f_blocks * _PAGE > _MIB
    world.unlink("data/below/moved")


def test_a_reset_begins_with_nothing(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    before = _used(world)
    _fill(world, world.put("file"))
    for name in ("upper2", "work2"):
        (place / name).mkdir()

    world.union.reset(os.fsencode(place / "upper2"), os.fsencode(place / "work2"))
    world.forget()

    assert _used(world) == before
    world.put("file", bytes(_MIB))
    world.close()


def test_a_value_that_does_not_fit_is_not_set(place: Path, make_world: MakeWorld) -> None:
    world = _open(make_world, place, 3 * _MIB)
    world.put("file")
    world.set_xattr("file", b"user.a", b"old")
    _fill(world, world.put("filler"))
    takes_blocks = (place / "upper").stat().st_blocks > 0

    if takes_blocks:
        with refused(errno.ENOSPC):
            world.set_xattr("file", b"user.a", b"x" * 3000)
        assert world.xattrs("file") == {b"user.a": b"old"}
    else:
        world.set_xattr("file", b"user.a", b"x" * 3000)
    assert _used(world) == _du(world) <= 3 * _MIB


def test_without_a_limit_nothing_is_counted(make_world: MakeWorld) -> None:
    assert type(make_world(_LOWER).union) is Union
    assert type(make_world(_LOWER, read_only=True, upper_limit=1).union) is Union


def test_a_large_directory_is_replaced_and_removed_in_steps(
    place: Path, make_world: MakeWorld
) -> None:
    world = _open(make_world, place, 64 * _MIB)
    world.write("d/small", b"x")
    for name in ("full", "other"):
        world.mkdir(name)
        os.mknod(place / "whiteout", stat.S_IFCHR)
        for number in range(14_000):
            os.link(place / "whiteout", world.upper / name / str(number))
        (place / "whiteout").unlink()
    world.reopen()
    for step in (
        lambda: world.union.rename(world.at(""), b"d", world.at(""), b"full", 0),
        lambda: world.union.remove_directory(world.at(""), b"other"),
    ):
        for name in ("d", "full", "other"):
            world.find(name)
        steps = step()
        assert steps is not None
        list(steps)
        world.forget()
        assert _used(world) == _du(world)

    assert world.read("full/small") == b"xmall"
    assert world.find("other") is world.find("d") is None


def test_counting_keeps_nothing_open(place: Path, make_world: MakeWorld) -> None:
    (place / "upper/a/b/c").mkdir(parents=True)
    world = make_world({}, upper=place / "upper", upper_limit=_MIB)

    links = list(open_files().values())

    assert not [link for link in links if "/upper/a" in link]
    assert len([link for link in links if link.endswith("/work/work")]) == 1
    assert world.names("a") == {b"b"}
