"""Who may do what: seen by processes of ordinary users."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import mode_of, names, refused
from tests.posix.prepared import TEXT
from tests.posix.processes import ALICE, BOB, as_user, umask
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_R, _W, _X = os.R_OK, os.W_OK, os.X_OK


@check()
def others_read_what_the_mode_lets_them(root: Path) -> None:
    assert as_user(lambda: (root / "file").read_bytes()) == TEXT
    for name in ("owned", "attrs"):
        with refused(errno.EACCES):
            as_user(lambda name=name: (root / name).read_bytes(), BOB)


@check()
def others_write_what_the_mode_lets_them(root: Path) -> None:
    as_user(lambda: overwrite(root / "sticky/bobs", b"ALICE"), ALICE)
    assert (root / "sticky/bobs").read_bytes()[:5] == b"ALICE"
    with refused(errno.EACCES):
        as_user(lambda: overwrite(root / "file", b"x"))
    with refused(errno.EACCES):
        as_user(lambda: os.truncate(root / "file", 0))
    assert (root / "file").read_bytes() == TEXT


@check()
def the_owner_has_the_owners_rights(root: Path) -> None:
    as_user(lambda: overwrite(root / "owned", b"OWNED"), ALICE)
    assert as_user(lambda: (root / "owned").read_bytes()[:5], ALICE) == b"OWNED"


@check()
def the_owner_is_held_to_the_owners_bits(root: Path) -> None:
    os.chmod(root / "owned", 0o077)
    with refused(errno.EACCES):
        as_user(lambda: (root / "owned").read_bytes(), ALICE)
    assert as_user(lambda: (root / "owned").read_bytes(), BOB) == TEXT


@check()
def groups_count_the_supplementary_ones_too(root: Path) -> None:
    os.chown(root / "attrs", 0, 77)
    assert as_user(lambda: (root / "attrs").read_bytes(), BOB, 77) == TEXT
    assert as_user(lambda: (root / "attrs").read_bytes(), BOB, groups=[5, 77]) == TEXT
    with refused(errno.EACCES):
        as_user(lambda: (root / "attrs").read_bytes(), BOB, groups=[5])


@check()
def root_reads_and_writes_whatever_the_mode(root: Path) -> None:
    os.chmod(root / "file", 0)
    overwrite(root / "file", b"ROOT")
    assert (root / "file").read_bytes()[:4] == b"ROOT"
    assert names(root / "private") == {"inside"}


@check()
def a_closed_directory_hides_what_is_in_it(root: Path) -> None:
    assert as_user(lambda: os.listdir(root / "private"), ALICE) == ["inside"]
    for attempt in (
        lambda: os.listdir(root / "private"),
        lambda: os.lstat(root / "private/inside"),
        lambda: os.lstat(root / "private/none"),
        lambda: os.chdir(root / "private"),
        lambda: create(root / "private/new"),
    ):
        with refused(errno.EACCES):
            as_user(attempt, BOB)


@check()
def a_directory_with_x_alone_is_passed_not_listed(root: Path) -> None:
    os.chmod(root / "dir", 0o711)
    assert as_user(lambda: (root / "dir/a").read_bytes()) == b"a"
    with refused(errno.EACCES):
        as_user(lambda: os.listdir(root / "dir"))


@check()
def a_directory_with_r_alone_is_listed_not_passed(root: Path) -> None:
    os.chmod(root / "dir", 0o744)
    assert set(as_user(lambda: os.listdir(root / "dir"))) == {"a", "b", "sub"}
    with refused(errno.EACCES):
        as_user(lambda: os.lstat(root / "dir/a"))


@check()
def a_directory_that_is_not_writable_keeps_its_names(root: Path) -> None:
    directory = root / "dir"
    for attempt in (
        lambda: create(directory / "new"),
        lambda: os.mkdir(directory / "new"),
        lambda: os.symlink("x", directory / "new"),
        lambda: os.mkfifo(directory / "new"),
        lambda: os.unlink(directory / "a"),
        lambda: os.rmdir(directory / "sub"),
        lambda: os.rename(directory / "a", directory / "z"),
        lambda: os.rename(root / "sticky/bobs", directory / "bobs"),
    ):
        with refused(errno.EACCES):
            as_user(attempt, BOB)
    assert names(directory) == {"a", "b", "sub"}


@check()
def an_existing_name_is_said_before_the_lack_of_rights(root: Path) -> None:
    with refused(errno.EEXIST):
        as_user(lambda: os.mkdir(root / "dir/sub"))
    with refused(errno.ENOENT):
        as_user(lambda: os.unlink(root / "dir/none"))


@check()
def a_new_object_belongs_to_its_maker(root: Path) -> None:
    os.chmod(root / "dir", 0o777)

    def make() -> None:
        create(root / "dir/file")
        os.mkdir(root / "dir/dir")
        os.symlink("x", root / "dir/link")
        os.mkfifo(root / "dir/fifo")

    as_user(make, ALICE, 77)
    for name in ("file", "dir", "link", "fifo"):
        found = os.lstat(root / "dir" / name)
        assert (found.st_uid, found.st_gid) == (ALICE, 77), name


@check()
def a_user_works_in_a_directory_of_theirs(root: Path) -> None:
    def work() -> bytes:
        os.mkdir(root / "private/new", 0o700)
        create(root / "private/new/file", b"mine")
        os.rename(root / "private/inside", root / "private/new/moved")
        os.link(root / "private/new/file", root / "private/link")
        os.unlink(root / "private/new/file")
        return (root / "private/link").read_bytes()

    assert as_user(work, ALICE) == b"mine"
    assert names(root / "private") == {"link", "new"}
    assert (root / "private/new/moved").read_bytes() == TEXT


@check()
def a_user_removes_what_root_put_into_their_directory(root: Path) -> None:
    create(root / "private/roots", b"x", 0o600)
    as_user(lambda: os.unlink(root / "private/roots"), ALICE)
    as_user(lambda: os.unlink(root / "private/inside"), ALICE)
    assert names(root / "private") == set()


@check()
def only_the_owner_changes_the_mode(root: Path) -> None:
    with refused(errno.EPERM):
        as_user(lambda: os.chmod(root / "file", 0o666))
    with refused(errno.EPERM):
        as_user(lambda: os.chmod(root / "sticky/bobs", 0o600), ALICE)
    as_user(lambda: os.chmod(root / "owned", 0o644), ALICE)
    assert mode_of(root / "owned") == 0o644


@check()
def only_root_gives_files_away(root: Path) -> None:
    for uid in (0, BOB):
        with refused(errno.EPERM):
            as_user(lambda uid=uid: os.chown(root / "owned", uid, -1), ALICE)
    with refused(errno.EPERM):
        as_user(lambda: os.chown(root / "file", ALICE, -1), ALICE)


@check()
def the_owner_gives_the_file_to_a_group_of_theirs(root: Path) -> None:
    as_user(lambda: os.chown(root / "owned", -1, 77), ALICE, groups=[77])
    assert os.lstat(root / "owned").st_gid == 77
    with refused(errno.EPERM):
        as_user(lambda: os.chown(root / "owned", -1, 78), ALICE, groups=[77])


@check()
def access_answers_for_the_caller(root: Path) -> None:
    def answers(name: str) -> list[bool]:
        return [os.access(root / name, wish) for wish in (os.F_OK, _R, _W, _X)]

    assert as_user(lambda: answers("file")) == [True, True, False, False]
    assert as_user(lambda: answers("owned"), ALICE) == [True, True, True, False]
    assert as_user(lambda: answers("owned"), BOB) == [True, False, False, False]
    assert as_user(lambda: answers("private"), BOB) == [True, False, False, False]
    assert as_user(lambda: answers("private/inside"), BOB) == [False] * 4
    assert as_user(lambda: answers("gone")) == [False] * 4
    assert answers("script") == [True] * 4
    assert answers("file") == [True, True, True, False]


@check()
def access_asks_the_real_user(root: Path) -> None:
    def ask() -> tuple[bool, bool]:
        os.setresuid(ALICE, BOB, 0)
        path = root / "owned"
        return os.access(path, _R), os.access(path, _R, effective_ids=True)

    assert as_user(ask, 0) == (True, False)


@check()
def rights_are_decided_at_open(root: Path) -> None:
    def work() -> bytes:
        with opened(root / "owned", os.O_RDWR) as descriptor:
            os.fchmod(descriptor, 0)
            os.pwrite(descriptor, b"STILL", 0)
            found = os.pread(descriptor, 5, 0)
        with refused(errno.EACCES), opened(root / "owned"):
            pass
        return found

    assert as_user(work, ALICE) == b"STILL"


@check()
def a_new_file_without_rights_serves_its_maker(root: Path) -> None:
    def work() -> bytes:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        with opened(root / "private/new", flags, 0o000) as descriptor:
            os.write(descriptor, b"x")
            found = os.pread(descriptor, 1, 0)
        with refused(errno.EACCES), opened(root / "private/new"):
            pass
        return found

    assert as_user(work, ALICE) == b"x"
    assert mode_of(root / "private/new") == 0


@check()
def a_user_makes_no_devices(root: Path) -> None:
    with refused(errno.EPERM):
        as_user(
            lambda: os.mknod(root / "private/null", stat.S_IFCHR | 0o666, os.makedev(1, 3)), ALICE
        )
    as_user(lambda: os.mkfifo(root / "private/fifo"), ALICE)
    assert stat.S_ISFIFO(os.lstat(root / "private/fifo").st_mode)


@check()
def noatime_is_for_the_owner(root: Path) -> None:
    with refused(errno.EPERM):
        as_user(lambda: os.open(root / "file", os.O_NOATIME | os.O_RDONLY))
    as_user(lambda: os.close(os.open(root / "owned", os.O_NOATIME | os.O_RDONLY)), ALICE)
    with opened(root / "file", os.O_NOATIME) as descriptor:
        assert os.read(descriptor, 100) == TEXT


@check()
def the_umask_is_the_makers_own(root: Path) -> None:
    def make() -> None:
        with umask(0o077):
            create(root / "private/new", mode=0o666)

    as_user(make, ALICE)
    assert mode_of(root / "private/new") == 0o600


@check()
def a_path_needs_every_directory_on_its_way(root: Path) -> None:
    os.chmod(root / "dir", 0o700)
    with refused(errno.EACCES):
        as_user(lambda: (root / "dir/sub/deep").read_bytes())
    os.chmod(root / "dir", 0o711)
    assert as_user(lambda: (root / "dir/sub/deep").read_bytes()) == b"deep"
    with refused(errno.EACCES):
        as_user(lambda: os.rename(root / "private/inside", root / "sticky/x"), BOB)
