"""Creating, opening, reading and writing regular files."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import mode_of, names, refused
from tests.posix.prepared import BIG, TEXT
from tests.posix.processes import umask
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


@check()
def a_new_file_is_empty_and_listed(root: Path) -> None:
    create(root / "new")
    found = os.lstat(root / "new")
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_size, found.st_nlink) == (0, 1)
    assert "new" in names(root)


@check()
def a_new_file_has_the_mode_asked_for(root: Path) -> None:
    with umask(0):
        create(root / "new", mode=0o4753)
    assert mode_of(root / "new") == 0o4753


@check()
def umask_takes_bits_from_a_new_file(root: Path) -> None:
    with umask(0o027):
        create(root / "new", mode=0o777)
    assert mode_of(root / "new") == 0o750


@check()
def a_file_created_read_only_is_writable_to_its_creator(root: Path) -> None:
    with opened(root / "new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o400) as descriptor:
        os.write(descriptor, b"x")
        assert os.pread(descriptor, 2, 0) == b"x"


@check()
def exclusive_creation_refuses_any_existing_name(root: Path) -> None:
    for name in ("file", "dir", "fifo", "link", "dangling", "null"):
        with refused(errno.EEXIST), opened(root / name, _NEW):
            pass


@check()
def creation_through_a_dangling_symlink_makes_its_target(root: Path) -> None:
    with opened(root / "dangling", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.write(descriptor, b"x")
    assert (root / "nowhere").read_bytes() == b"x"
    assert os.readlink(root / "dangling") == "nowhere"


@check()
def creation_over_an_existing_file_keeps_it(root: Path) -> None:
    with opened(root / "attrs", os.O_CREAT | os.O_RDWR, 0o777) as descriptor:
        assert os.read(descriptor, 100) == TEXT
    assert mode_of(root / "attrs") == 0o640


@check()
def a_missing_file_cannot_be_opened(root: Path) -> None:
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        with refused(errno.ENOENT), opened(root / "gone", flags):
            pass


@check()
def a_directory_cannot_be_opened_for_writing(root: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT):
        with refused(errno.EISDIR), opened(root / "dir", flags):
            pass


@check()
def o_directory_refuses_a_file(root: Path) -> None:
    for name in ("file", "link", "fifo"):
        with refused(errno.ENOTDIR), opened(root / name, os.O_DIRECTORY):
            pass


@check()
def o_nofollow_refuses_a_symlink(root: Path) -> None:
    for name in ("link", "dirlink", "dangling"):
        with refused(errno.ELOOP), opened(root / name, os.O_NOFOLLOW):
            pass
    with opened(root / "file", os.O_NOFOLLOW) as descriptor:
        assert os.read(descriptor, 100) == TEXT


@check()
def a_path_through_a_file_is_refused(root: Path) -> None:
    with refused(errno.ENOTDIR):
        os.lstat(root / "file" / "x")
    with refused(errno.ENOTDIR):
        create(root / "file" / "x")
    with refused(errno.ENOTDIR):
        os.lstat(f"{root}/file/")


@check()
def creation_in_a_missing_directory_is_refused(root: Path) -> None:
    with refused(errno.ENOENT):
        create(root / "gonedir" / "x")


@check()
def creation_of_a_name_with_a_slash_at_its_end_is_refused(root: Path) -> None:
    with refused(errno.EISDIR), opened(f"{root}/new/", os.O_CREAT | os.O_WRONLY):
        pass


@check()
def another_descriptor_reads_what_was_written(root: Path) -> None:
    create(root / "new")
    with opened(root / "new", os.O_WRONLY) as writer, opened(root / "new") as reader:
        for text in (b"one", b"two"):
            os.write(writer, text)
            assert os.read(reader, 10) == text


@check()
def a_reader_opened_before_the_first_write_sees_it(root: Path) -> None:
    with opened(root / "file") as reader:
        assert os.read(reader, 4) == TEXT[:4]
        overwrite(root / "file", b"CHANGED")
        assert os.pread(reader, 7, 0) == b"CHANGED"


@check()
def fstat_of_a_reader_follows_a_later_writer(root: Path) -> None:
    with opened(root / "file") as reader:
        overwrite(root / "file", b"x" * 1000)
        assert os.fstat(reader).st_size == 1000


@check()
def a_write_beyond_the_end_leaves_zeros_between(root: Path) -> None:
    overwrite(root / "file", b"end", 5000)
    assert (root / "file").read_bytes() == TEXT + bytes(5000 - len(TEXT)) + b"end"


@check()
def reading_at_and_beyond_the_end_gives_nothing(root: Path) -> None:
    with opened(root / "file") as descriptor:
        assert os.pread(descriptor, 10, len(TEXT)) == b""
        assert os.pread(descriptor, 10, 1 << 40) == b""
        assert os.pread(descriptor, 100, len(TEXT) - 2) == TEXT[-2:]


@check()
def a_write_in_the_middle_keeps_the_rest(root: Path) -> None:
    overwrite(root / "big", b"MIDDLE", 100_001)
    assert (root / "big").read_bytes() == BIG[:100_001] + b"MIDDLE" + BIG[100_007:]


@check()
def a_write_keeps_mode_owner_and_links(root: Path) -> None:
    before = os.lstat(root / "owned")
    overwrite(root / "owned", b"x")
    after = os.lstat(root / "owned")
    for field in ("st_mode", "st_uid", "st_gid", "st_nlink", "st_ino", "st_size"):
        assert getattr(before, field) == getattr(after, field), field


@check()
def a_descriptor_does_only_what_it_was_opened_for(root: Path) -> None:
    with opened(root / "file") as reader, refused(errno.EBADF):
        os.write(reader, b"x")
    with opened(root / "file", os.O_WRONLY) as writer, refused(errno.EBADF):
        os.read(writer, 1)


@check()
def o_trunc_empties_the_file(root: Path) -> None:
    with opened(root / "big", os.O_WRONLY | os.O_TRUNC) as descriptor:
        assert os.fstat(descriptor).st_size == 0
        os.write(descriptor, b"short")
    assert (root / "big").read_bytes() == b"short"


@check()
def o_trunc_keeps_mode_owner_and_xattrs(root: Path) -> None:
    with opened(root / "attrs", os.O_WRONLY | os.O_TRUNC):
        pass
    assert mode_of(root / "attrs") == 0o640
    assert os.getxattr(root / "attrs", "user.colour") == b"blue"
    assert (root / "attrs").read_bytes() == b""


@check()
def a_duplicate_descriptor_shares_the_offset(root: Path) -> None:
    with opened(root / "file") as descriptor:
        other = os.dup(descriptor)
        os.read(descriptor, 4)
        assert os.read(other, 4) == TEXT[4:8]
        os.close(other)


@check()
def two_opens_have_offsets_of_their_own(root: Path) -> None:
    with opened(root / "file") as one, opened(root / "file") as other:
        os.read(one, 4)
        assert os.read(other, 4) == TEXT[:4]


@check()
def pread_and_pwrite_leave_the_offset(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.pwrite(descriptor, b"X", 3)
        os.pread(descriptor, 2, 2)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0


@check()
def seeking_counts_from_start_here_and_end(root: Path) -> None:
    with opened(root / "file") as descriptor:
        assert os.lseek(descriptor, -3, os.SEEK_END) == len(TEXT) - 3
        assert os.lseek(descriptor, 1, os.SEEK_CUR) == len(TEXT) - 2
        assert os.read(descriptor, 10) == TEXT[-2:]
        with refused(errno.EINVAL):
            os.lseek(descriptor, -1, os.SEEK_SET)


@check()
def scattered_reads_and_gathered_writes_are_whole(root: Path) -> None:
    with opened(root / "new", os.O_CREAT | os.O_RDWR) as descriptor:
        assert os.writev(descriptor, [b"a" * 5000, b"b", b"", b"c" * 9000]) == 14001
        parts = [bytearray(5001), bytearray(9000)]
        assert os.preadv(descriptor, parts, 0) == 14001
    assert bytes(parts[0]) == b"a" * 5000 + b"b"
    assert bytes(parts[1]) == b"c" * 9000


@check()
def many_megabytes_come_back_as_written(root: Path) -> None:
    data = BIG * 17 + b"odd"
    create(root / "new", data)
    assert (root / "new").read_bytes() == data
    assert os.lstat(root / "new").st_size == len(data)


@check()
def writes_of_odd_sizes_at_odd_places_come_back(root: Path) -> None:
    expected = bytearray(BIG)
    with opened(root / "big", os.O_RDWR) as descriptor:
        for step in range(40):
            offset, piece = step * 7919 % 300_000, bytes([step]) * (step * 523 % 9001)
            os.pwrite(descriptor, piece, offset)
            expected.extend(bytes(max(0, offset + len(piece) - len(expected)) if piece else 0))
            expected[offset : offset + len(piece)] = piece
            assert os.pread(descriptor, 9000, max(0, offset - 100)) == bytes(
                expected[max(0, offset - 100) :][:9000]
            )
    assert (root / "big").read_bytes() == bytes(expected)


@check()
def synchronous_writes_are_readable(root: Path) -> None:
    for flag in (os.O_SYNC, os.O_DSYNC):
        with opened(root / "file", os.O_RDWR | flag) as descriptor:
            os.write(descriptor, b"synced")
            assert os.pread(descriptor, 6, 0) == b"synced"


@check()
def direct_io_and_cached_io_see_one_content(root: Path) -> None:
    block = mmap.mmap(-1, 4096)
    block[:] = b"D" * 4096
    with opened(root / "big", os.O_RDWR) as cached:
        assert os.pread(cached, 1, 4096) == BIG[4096:4097]
        with opened(root / "big", os.O_RDWR | os.O_DIRECT) as direct:
            assert os.pwritev(direct, [block], 4096) == 4096
            assert os.pread(cached, 4096, 4096) == b"D" * 4096
            os.pwrite(cached, b"C" * 4096, 8192)
            assert os.preadv(direct, [block], 8192) == 4096
    assert block[:] == b"C" * 4096
    block.close()


@check()
def an_o_path_descriptor_only_names_the_file(root: Path) -> None:
    with opened(root / "file", os.O_PATH) as handle:
        assert os.fstat(handle).st_size == len(TEXT)
        with refused(errno.EBADF):
            os.read(handle, 1)
        with opened(f"/proc/self/fd/{handle}", os.O_RDWR) as descriptor:
            os.write(descriptor, b"PREP")
    assert (root / "file").read_bytes() == b"PREPared\n"


@check()
def an_empty_write_changes_nothing(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        assert os.pwrite(descriptor, b"", 1000) == 0
        assert os.fstat(descriptor).st_size == len(TEXT)


@check()
def files_made_under_one_name_in_turn_are_separate(root: Path) -> None:
    for content in (b"first", b"second", b""):
        create(root / "gone", content)
        assert (root / "gone").read_bytes() == content
        os.unlink(root / "gone")
        assert not os.path.lexists(root / "gone")
