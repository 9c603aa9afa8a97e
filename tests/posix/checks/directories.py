"""mkdir(2), rmdir(2), and directories as places to stand."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from tests.posix.descriptors import create, opened
from tests.posix.expecting import is_absent, mode_of, names, refused
from tests.posix.processes import in_child, umask
from tests.posix.registry import check


@check()
def a_new_directory_is_empty_with_the_mode_asked_for(root: Path) -> None:
    with umask(0):
        os.mkdir(root / "new", 0o1751)
    assert stat.S_ISDIR(os.lstat(root / "new").st_mode)
    assert mode_of(root / "new") == 0o1751
    assert names(root / "new") == set()
    assert "new" in names(root)


@check()
def umask_takes_bits_from_a_new_directory(root: Path) -> None:
    with umask(0o077):
        os.mkdir(root / "new", 0o777)
    assert mode_of(root / "new") == 0o700


@check()
def an_existing_name_is_not_made_a_directory(root: Path) -> None:
    for name in ("file", "dir", "empty", "dangling", "dirlink", "fifo"):
        with refused(errno.EEXIST):
            os.mkdir(root / name)


@check()
def a_directory_needs_a_parent(root: Path) -> None:
    with refused(errno.ENOENT):
        os.mkdir(root / "gonedir" / "new")
    with refused(errno.ENOTDIR):
        os.mkdir(root / "file" / "new")


@check()
def mkdir_takes_a_slash_at_the_end(root: Path) -> None:
    os.mkdir(f"{root}/new/")
    os.rmdir(f"{root}/new/")
    assert is_absent(root / "new")


@check()
def an_empty_directory_goes_away(root: Path) -> None:
    os.rmdir(root / "empty")
    assert is_absent(root / "empty")
    with refused(errno.ENOENT):
        os.rmdir(root / "empty")


@check()
def a_directory_that_holds_something_stays(root: Path) -> None:
    for name in ("dir", "dir/sub", "opaque", "sticky"):
        with refused(errno.ENOTEMPTY):
            os.rmdir(root / name)
    assert (root / "dir/a").read_bytes() == b"a"


@check()
def a_directory_goes_once_its_last_name_went(root: Path) -> None:
    os.unlink(root / "dir/sub/deep")
    os.rmdir(root / "dir/sub")
    os.unlink(root / "dir/a")
    with refused(errno.ENOTEMPTY):
        os.rmdir(root / "dir")
    os.unlink(root / "dir/b")
    os.rmdir(root / "dir")
    assert is_absent(root / "dir")


@check()
def rmdir_takes_only_directories(root: Path) -> None:
    for name in ("file", "dirlink", "fifo", "dangling"):
        with refused(errno.ENOTDIR):
            os.rmdir(root / name)
    with refused(errno.ENOENT):
        os.rmdir(root / "gone")


@check()
def rmdir_refuses_dot_and_dot_dot(root: Path) -> None:
    with refused(errno.EINVAL):
        os.rmdir(f"{root}/empty/.")
    with refused(errno.ENOTEMPTY):
        os.rmdir(f"{root}/dir/sub/..")


@check()
def unlink_refuses_a_directory(root: Path) -> None:
    with refused(errno.EISDIR, errno.EPERM):
        os.unlink(root / "empty")
    assert "empty" in names(root)


@check()
def a_directory_made_again_is_empty(root: Path) -> None:
    shutil.rmtree(root / "dir")
    os.mkdir(root / "dir")
    assert names(root / "dir") == set()
    assert not os.path.lexists(root / "dir/a")
    create(root / "dir/b", b"new b")
    assert names(root / "dir") == {"b"}
    assert (root / "dir/b").read_bytes() == b"new b"


@check()
def a_directory_made_where_one_was_hidden_is_empty(root: Path) -> None:
    os.mkdir(root / "gonedir")
    assert names(root / "gonedir") == set()
    os.rmdir(root / "gonedir")
    assert is_absent(root / "gonedir")


@check()
def everything_can_be_removed(root: Path) -> None:
    for name in names(root):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    assert names(root) == set()
    os.rmdir(root)
    assert is_absent(root)


@check()
def a_file_gives_way_to_a_directory(root: Path) -> None:
    os.unlink(root / "file")
    os.mkdir(root / "file")
    create(root / "file/inside", b"x")
    assert names(root / "file") == {"inside"}
    assert stat.S_ISDIR(os.stat(root / "link").st_mode)


@check()
def a_directory_gives_way_to_a_file(root: Path) -> None:
    shutil.rmtree(root / "full")
    create(root / "full", b"a file")
    assert (root / "full").read_bytes() == b"a file"
    with refused(errno.ENOTDIR):
        os.lstat(root / "full/00")


@check()
def a_file_that_hid_a_directory_leaves_nothing(root: Path) -> None:
    os.unlink(root / "kind")
    assert is_absent(root / "kind")
    os.mkdir(root / "kind")
    assert names(root / "kind") == set()


@check()
def dot_dot_leads_to_the_parent(root: Path) -> None:
    assert os.path.samestat(os.stat(root / "dir/sub/.."), os.stat(root / "dir"))
    assert os.path.samestat(os.stat(root / "dir/sub/../../file"), os.stat(root / "file"))


@check()
def a_process_stands_in_a_directory(root: Path) -> None:
    def stand() -> tuple[str, bytes]:
        os.chdir(root / "dir/sub")
        os.rename("../../dir", "../../moved")
        create(Path("new"), b"x")
        return os.getcwd(), Path("../a").read_bytes()

    assert in_child(stand) == (f"{root}/moved/sub", b"a")
    assert (root / "moved/sub/new").read_bytes() == b"x"


@check()
def a_removed_working_directory_has_no_name(root: Path) -> None:
    def stand() -> None:
        os.chdir(root / "empty")
        os.rmdir(root / "empty")
        with refused(errno.ENOENT):
            os.getcwd()
        with refused(errno.ENOENT):
            create(Path("new"))
        assert os.listdir(".") == []

    in_child(stand)


@check()
def a_descriptor_of_a_directory_follows_its_rename(root: Path) -> None:
    with opened(root / "dir", os.O_DIRECTORY) as directory:
        os.rename(root / "dir", root / "moved")
        assert set(os.listdir(directory)) == {"a", "b", "sub"}
        with opened("new", os.O_CREAT | os.O_WRONLY, dir_fd=directory) as descriptor:
            os.write(descriptor, b"x")
        os.unlink("a", dir_fd=directory)
    assert names(root / "moved") == {"b", "sub", "new"}


@check()
def a_removed_directory_takes_nothing_new(root: Path) -> None:
    with opened(root / "empty", os.O_DIRECTORY) as directory:
        os.rmdir(root / "empty")
        with refused(errno.ENOENT):
            os.mkdir("new", dir_fd=directory)
        with refused(errno.ENOENT), opened("new", os.O_CREAT | os.O_WRONLY, dir_fd=directory):
            pass
        assert os.listdir(directory) == []
        assert stat.S_ISDIR(os.fstat(directory).st_mode)


@check()
def a_directory_is_not_read_as_a_file(root: Path) -> None:
    with opened(root / "dir") as directory, refused(errno.EISDIR):
        os.read(directory, 1)


@check()
def only_a_directory_is_listed(root: Path) -> None:
    with refused(errno.ENOTDIR):
        os.listdir(root / "file")
    with refused(errno.ENOENT):
        os.listdir(root / "gonedir")


@check()
def many_directories_nest(root: Path) -> None:
    path = root / "dir"
    for depth in range(60):
        path /= f"level{depth}"
        path.mkdir()
    create(path / "bottom", b"x")
    assert (path / "bottom").read_bytes() == b"x"
    shutil.rmtree(root / "dir")
    assert is_absent(root / "dir")
