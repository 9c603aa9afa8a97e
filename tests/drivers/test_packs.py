"""Packs as lower layers, through the kernel: data of all sizes, damage, and what may not wait."""

from __future__ import annotations

import errno
import mmap
import os
import random
import re
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.packs.format import FOOTER_SIZE
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import Metadata
from overlayfs_py.packs.writer import PackWriter
from tests.drivers.serving import read_only, serving, start, stop
from tests.support.lowers import pack
from tests.support.snapshot import differences, snapshot
from tests.support.trees import Device, Dir, File, HardLink, Symlink, Whiteout, build

if TYPE_CHECKING:
    from overlayfs_py.union.values import StackSpec
    from tests.drivers.serving import Stack

# Caches are dropped here, those of all mounts.
pytestmark = pytest.mark.alone

CHUNK = 1 << 17


def packed(stack: Stack) -> StackSpec:
    """The stack with its lower layer as a pack."""
    made = pack(stack.lower, stack.base)
    return stack.spec._replace(lower=(os.fsencode(made),))


def drop_caches() -> None:
    with open("/proc/sys/vm/drop_caches", "w") as control:
        control.write("3")


TREE = {
    "": Dir(mode=0o755),
    "small": File(b"small", mode=0o4755, uid=1, gid=2, mtime_ns=10**18 + 5),
    "large": File(random.Random(1).randbytes(5 * CHUNK + 1234), mtime_ns=10**18),
    "sparse": File(b"start", size=3 * CHUNK),
    "dir/link": HardLink("small"),
    "dir/symlink": Symlink("../small"),
    "dir/null": Device(kind=stat.S_IFCHR, major=1, minor=3),
    "dir/xattr": File(b"x", xattrs={"user.one": b"1"}),
}


def test_a_pack_shows_what_its_directory_shows(stack: Stack) -> None:
    build(stack.lower, TREE)
    plain = read_only(stack.spec)._replace(lower=(os.fsencode(stack.lower),))
    with serving(plain, stack.plan):
        expected = snapshot(stack.target, mtime=True)

    with serving(read_only(packed(stack)), stack.plan):
        shown = snapshot(stack.target, mtime=True)

    assert differences(expected, shown) == []


def test_packs_and_directories_mix(stack: Stack) -> None:
    bottom, middle, top = (stack.base / name for name in ("bottom", "middle", "top"))
    build(bottom, {"a/low": File(b"bottom"), "a/gone": File(b"x"), "b/hidden": File(b"x")})
    build(middle, {"a/low": File(b"middle"), "a/gone": Whiteout(), "b/.wh..wh..opq": File()})
    build(top, {"a/top": File(b"top"), "b/shown": File(b"shown")})
    lower = (top, pack(middle, stack.base), bottom)

    with serving(stack.spec._replace(lower=tuple(map(os.fsencode, lower))), stack.plan):
        found = {path: entry.content for path, entry in snapshot(stack.target).items()}
    files = {path: content for path, content in found.items() if content is not None}

    assert files == {b"a/low": b"middle", b"a/top": b"top", b"b/shown": b"shown"}


def test_a_change_copies_up_all_of_a_file(stack: Stack) -> None:
    build(stack.lower, TREE)
    large = (stack.lower / "large").read_bytes()

    with serving(packed(stack), stack.plan):
        with (stack.target / "large").open("ab") as file:
            file.write(b"more")
        with (stack.target / "dir/link").open("r+b") as file:
            file.write(b"S")
        os.truncate(stack.target / "sparse", 2 * CHUNK)
        small = (stack.target / "small").read_bytes()
        assert os.path.samefile(stack.target / "small", stack.target / "dir/link")

    assert (stack.upper / "large").read_bytes() == large + b"more"
    assert small == b"Small"
    assert (stack.upper / "dir/link").stat().st_nlink == 2  # this name, and the one of the index
    assert not (stack.upper / "small").exists()
    assert (stack.upper / "sparse").stat().st_size == 2 * CHUNK
    assert (stack.upper / "sparse").stat().st_blocks * 512 < CHUNK


def test_data_is_read_at_every_offset_by_many_at_once(stack: Stack) -> None:
    data = random.Random(2).randbytes(40 * CHUNK + 99)
    (stack.lower / "file").write_bytes(data)
    spec = read_only(packed(stack))
    rng = random.Random(3)
    ranges = [(rng.randrange(len(data)), rng.choice((1, 4096, CHUNK, 1 << 20))) for _ in range(200)]

    with serving(spec, stack.plan), (stack.target / "file").open("rb") as file:

        def check(at: tuple[int, int]) -> bool:
            offset, size = at
            return os.pread(file.fileno(), size, offset) == data[offset : offset + size]

        for _ in range(2):
            with ThreadPoolExecutor(8) as readers:
                assert all(readers.map(check, ranges))
            drop_caches()


def test_programs_run_and_files_map(stack: Stack) -> None:
    shutil.copy("/bin/bash", stack.lower / "bash")
    data = random.Random(4).randbytes(3 * CHUNK)
    (stack.lower / "mapped").write_bytes(data)

    with serving(read_only(packed(stack)), stack.plan):
        said = subprocess.check_output([stack.target / "bash", "-c", "echo hello"])
        with (
            (stack.target / "mapped").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            assert mapped[:] == data

    assert said == b"hello\n"


def test_damage_is_an_error_of_its_file_alone(stack: Stack) -> None:
    build(stack.lower, {"sound": File(b"sound"), "broken": File(bytes(range(256)) * 512 * 3)})
    spec = packed(stack)
    path = stack.base / os.path.basename(os.fsdecode(spec.lower[0]))
    with Pack(os.fsencode(path)) as sound:
        offset = sound.index.chunk(1)[0]
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 4]))

    with serving(spec, stack.plan) as daemon:
        with (stack.target / "broken").open("rb", buffering=0) as file:
            first = os.pread(file.fileno(), 4096, 0)
            with pytest.raises(OSError, match="Input/output") as caught:
                os.pread(file.fileno(), 4096, CHUNK)
        with pytest.raises(OSError, match="Input/output"):
            (stack.target / "broken").chmod(0o600)
        assert (stack.target / "sound").read_bytes() == b"sound"
        (stack.target / "new").write_bytes(b"new")
        daemon.expected_words = (
            f"ERROR:overlayfs_py.drivers.errnos:{path}: "
            "chunk 1 is damaged: its bytes are not those that were written\n"
        )

    assert first == (bytes(range(256)) * 16)
    assert caught.value.errno == errno.EIO
    assert not (stack.upper / "broken").exists()
    assert not [left for left in stack.work.rglob("*") if left.is_file() and left.name != "lock"]


def test_a_pack_that_is_cut_while_mounted_kills_nobody(stack: Stack) -> None:
    """A mapping of the file would end in SIGBUS, and all of its mounts with it."""
    build(stack.lower, {"small": File(b"x" * 100)})
    large = stack.base / "large.pack"  # its index is not read at once
    with large.open("wb") as out:
        writer = PackWriter(out)
        for number in range(15_000):
            writer.add_file((b"file%d" % number,), Metadata(), [b"x" * 100])
        writer.finish()
    lower = (os.fsencode(large), *packed(stack).lower)
    daemon = start(read_only(stack.spec)._replace(lower=lower), stack.plan)
    errors = set()
    try:
        (stack.target / "file1").stat()
        for path in lower:
            os.truncate(path, 0)
        for name in ("small", *(f"file{number}" for number in range(0, 15_000, 10))):
            try:
                (stack.target / name).read_bytes()
            except OSError as error:
                errors.add(error.errno)
        alive = daemon.is_mounted
    finally:
        words = stop(daemon)

    assert errors == {errno.EIO}
    assert alive
    assert "chunk 0 is damaged" in words
    assert "of its index is damaged" in words
    assert "Traceback" not in words


@pytest.mark.parametrize("cut", [1, FOOTER_SIZE, 5000])
def test_a_torn_pack_is_not_mounted(stack: Stack, cut: int) -> None:
    build(stack.lower, {f"file{number}": File(b"x" * 100) for number in range(200)})
    spec = packed(stack)
    os.truncate(spec.lower[0], os.stat(spec.lower[0]).st_size - cut)

    with pytest.raises(AssertionError, match="it does not end as a pack does"):
        start(spec, stack.plan)


def test_a_pack_of_another_version_says_so(stack: Stack) -> None:
    spec = packed(stack)
    with open(spec.lower[0], "r+b") as file:
        file.seek(-FOOTER_SIZE + 8, os.SEEK_END)
        file.write(b"\x02")

    with pytest.raises(AssertionError, match=re.escape("its format has version 2")):
        start(spec, stack.plan)


def test_holes_are_found_in_a_pack(stack: Stack) -> None:
    build(stack.lower, TREE)

    with serving(packed(stack), stack.plan), (stack.target / "sparse").open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.stat(file.fileno()).st_blocks * 512 < CHUNK
