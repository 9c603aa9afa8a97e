"""Files, names and attributes through the kernel, as far as the driver has a part in them."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.drivers.serving import Stack, serving, wait_until

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def run_as_nobody(script: str, *arguments: Path) -> None:
    subprocess.run([*AS_NOBODY, "sh", "-c", script, *arguments], check=True)


def test_write_read_append_truncate(mount: Path) -> None:
    file = mount / "file"
    file.write_bytes(b"one")
    with file.open("ab") as appending:
        appending.write(b" two")
    appended = file.read_bytes()
    os.truncate(file, 2)
    shortened = file.read_bytes()
    os.truncate(file, 5)

    assert (appended, shortened, file.read_bytes()) == (b"one two", b"on", b"on\0\0\0")


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY])
def test_o_trunc_empties_a_lower_file(stack: Stack, flags: int) -> None:
    (stack.lower / "file").write_bytes(b"x" * 100_000)

    with serving(stack.spec, stack.plan):
        fd = os.open(stack.target / "file", flags | os.O_TRUNC)
        size = os.fstat(fd).st_size
        os.close(fd)

    assert size == 0
    assert (stack.upper / "file").stat().st_size == 0
    assert (stack.lower / "file").stat().st_size == 100_000


def test_large_file(mount: Path) -> None:
    data = os.urandom(1 << 20) * 20 + b"tail"
    (mount / "file").write_bytes(data)

    assert (mount / "file").read_bytes() == data


def test_a_large_lower_file_is_changed_in_place(stack: Stack) -> None:
    data = os.urandom(5 << 20)
    (stack.lower / "file").write_bytes(data)

    with serving(stack.spec, stack.plan):
        with (stack.target / "file").open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"changed")
        seen = (stack.target / "file").read_bytes()

    assert seen == data[:1_000_000] + b"changed" + data[1_000_007:]
    assert (stack.lower / "file").read_bytes() == data


def test_a_descriptor_opened_before_copy_up_sees_later_writes(stack: Stack) -> None:
    (stack.lower / "file").write_bytes(b"old " * 50_000)

    with (
        serving(stack.spec, stack.plan),
        (stack.target / "file").open("rb", buffering=0) as reading,
    ):
        first = reading.read(4)
        (stack.target / "file").write_bytes(b"new!")
        reading.seek(0)
        second = reading.read()

    assert (first, second) == (b"old ", b"new!")


def test_an_unlinked_file_lives_while_open(stack: Stack) -> None:
    (stack.lower / "lower").write_bytes(b"abc")

    with serving(stack.spec, stack.plan):
        (stack.target / "upper").write_bytes(b"abc")
        for name in ("lower", "upper"):
            file = stack.target / name
            with file.open("rb" if name == "lower" else "r+b", buffering=0) as opened:
                file.unlink()
                assert os.fstat(opened.fileno()).st_nlink == 0
                assert opened.read() == b"abc"
                if name == "upper":
                    opened.write(b"def")
                    opened.seek(0)
                    assert opened.read() == b"abcdef"
                assert not file.exists()


def test_mmap_shared(mount: Path) -> None:
    (mount / "file").write_bytes(b"\0" * 8192)
    with (mount / "file").open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
        mapped[5000:5004] = b"data"
        mapped.flush()

        assert (mount / "file").read_bytes()[5000:5004] == b"data"


def test_dirty_pages_reach_the_upper_when_a_signal_unmounts(stack: Stack) -> None:
    with serving(stack.spec, stack.plan):
        (stack.target / "file").write_bytes(b"\0" * 4096)
        with (stack.target / "file").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
            mapped[:5] = b"dirty"

    assert (stack.upper / "file").read_bytes()[:5] == b"dirty"


def test_programs_run_from_the_mount(stack: Stack) -> None:
    shutil.copy("/bin/echo", stack.lower / "echo")

    with serving(stack.spec, stack.plan):
        said = subprocess.check_output([stack.target / "echo", "hello"])

    assert said == b"hello\n"


def test_a_running_program_cannot_be_written(stack: Stack) -> None:
    shutil.copy("/bin/sleep", stack.lower / "sleep")

    with (
        serving(stack.spec, stack.plan),
        subprocess.Popen([stack.target / "sleep", "60"]) as running,
    ):
        with pytest.raises(OSError, match="busy") as caught:
            os.open(stack.target / "sleep", os.O_WRONLY)
        running.kill()

    assert caught.value.errno == errno.ETXTBSY


def test_rename_replaces_exchanges_and_refuses(mount: Path) -> None:
    (mount / "a").write_text("a")
    (mount / "b").write_text("b")

    move = [sys.executable, "-c", RENAMEAT2, mount / "a", mount / "b"]
    exchanged = subprocess.run([*move, "2"], check=False).returncode
    after_exchange = (mount / "a").read_text() + (mount / "b").read_text()
    refused = subprocess.run([*move, "1"], check=False).returncode
    os.rename(mount / "a", mount / "b")

    assert (exchanged, after_exchange, refused) == (0, "ba", errno.EEXIST)
    assert os.listdir(mount) == ["b"]
    assert (mount / "b").read_text() == "b"


RENAMEAT2 = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
old, new = map(os.fsencode, sys.argv[1:3])
sys.exit(ctypes.get_errno() if libc.renameat2(-100, old, -100, new, int(sys.argv[3])) else 0)
"""


def test_a_large_lower_file_is_renamed_linked_and_given_xattrs(stack: Stack) -> None:
    data = os.urandom(200_000)
    for name in ("renamed", "linked", "marked", "aged"):
        (stack.lower / name).write_bytes(data)

    with serving(stack.spec, stack.plan):
        os.rename(stack.target / "renamed", stack.target / "renamed.new")
        os.link(stack.target / "linked", stack.target / "linked.new")
        os.setxattr(stack.target / "marked", "user.mark", b"here")
        os.utime(stack.target / "aged", ns=(1, 2))

    assert (stack.upper / "renamed.new").read_bytes() == data
    assert (stack.upper / "linked.new").stat().st_nlink == 2
    assert os.getxattr(stack.upper / "marked", "user.mark") == b"here"
    assert (stack.upper / "aged").stat().st_mtime_ns == 2
    assert (stack.upper / "aged").read_bytes() == data


def test_xattr_flags(mount: Path) -> None:
    file = mount / "file"
    file.touch()
    with pytest.raises(OSError, match="No data") as replacing:
        os.setxattr(file, "user.x", b"1", os.XATTR_REPLACE)
    os.setxattr(file, "user.x", b"1", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.x", b"2", os.XATTR_CREATE)
    os.setxattr(file, "user.x", b"3", os.XATTR_REPLACE)
    value, names = os.getxattr(file, "user.x"), os.listxattr(file)
    os.removexattr(file, "user.x")

    assert replacing.value.errno == errno.ENODATA
    assert (value, names, os.listxattr(file)) == (b"3", ["user.x"], [])


def test_special_files(mount: Path) -> None:
    os.mkfifo(mount / "fifo")
    os.mknod(mount / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.symlink("null", mount / "link")
    with subprocess.Popen(["cat", mount / "fifo"], stdout=subprocess.PIPE) as reader:
        (mount / "fifo").write_bytes(b"through the pipe")
        said, _ = reader.communicate(timeout=10)
    (mount / "link").write_bytes(b"swallowed")

    assert said == b"through the pipe"
    assert (mount / "null").stat().st_rdev == os.makedev(1, 3)
    assert os.readlink(mount / "link") == "null"


def test_statfs_is_the_upper_s(stack: Stack) -> None:
    with serving(stack.spec, stack.plan):
        ours, host = os.statvfs(stack.target), os.statvfs(stack.upper)

    assert (ours.f_blocks, ours.f_bsize, ours.f_files) == (
        host.f_blocks,
        host.f_bsize,
        host.f_files,
    )
    assert ours.f_namemax == host.f_namemax


def test_fsync(mount: Path) -> None:
    with (mount / "file").open("wb") as file:
        file.write(b"data")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(mount, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)

    assert (mount / "file").read_bytes() == b"data"


def test_the_umask_applies(mount: Path) -> None:
    run_as_root = 'cd "$0"; umask 027; touch file; mkdir dir; mkfifo fifo; umask 0; mkdir open'
    subprocess.run(["sh", "-c", run_as_root, mount], check=True)
    modes = {name: stat.S_IMODE((mount / name).stat().st_mode) for name in os.listdir(mount)}

    assert modes == {"file": 0o640, "dir": 0o750, "fifo": 0o640, "open": 0o777}


# A POSIX ACL as the xattr holds it: version 2, then tag, permissions and id of each entry.
OWNER, USER, GROUP, MASK, OTHER = 1, 2, 4, 16, 32
NO_ID = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def shared_acl(*, owner: int, mask: int) -> bytes:
    return acl(
        (OWNER, owner, NO_ID),
        (USER, 7, 1234),
        (GROUP, 5, NO_ID),
        (MASK, mask, NO_ID),
        (OTHER, 0, NO_ID),
    )


def test_a_default_acl_replaces_the_umask(mount: Path) -> None:
    shared = mount / "shared"
    shared.mkdir()
    default = shared_acl(owner=7, mask=7)
    os.setxattr(shared, "system.posix_acl_default", default)

    subprocess.run(["sh", "-c", 'cd "$0"; umask 077; touch file; mkdir dir', shared], check=True)

    assert stat.S_IMODE((shared / "file").stat().st_mode) == 0o660
    assert stat.S_IMODE((shared / "dir").stat().st_mode) == 0o770
    assert os.getxattr(shared / "dir", "system.posix_acl_default") == default
    inherited = os.getxattr(shared / "file", "system.posix_acl_access")
    assert inherited == shared_acl(owner=6, mask=6)


@pytest.mark.parametrize(
    "change", ['printf x >> "$0"', 'printf x > "$0"', 'truncate --size=1 "$0"']
)
def test_one_who_is_not_root_loses_the_set_id_bits(mount: Path, change: str) -> None:
    file = mount / "program"
    file.write_bytes(b"something")
    file.chmod(0o6777)

    run_as_nobody(change, file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o777


REWRITE_FIRST_BYTE = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.pwrite(fd, os.pread(fd, 1, 0), 0)
"""


def test_a_program_without_its_set_id_bits_runs_without_them(mount: Path) -> None:
    """No lookup or stat comes between the write and the exec, which sees what is cached."""
    program = mount / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4777)
    as_root = subprocess.check_output([*AS_NOBODY, program, "-u"])

    subprocess.run([*AS_NOBODY, sys.executable, "-c", REWRITE_FIRST_BYTE, program], check=True)
    as_nobody = subprocess.check_output([*AS_NOBODY, program, "-u"])

    assert (as_root, as_nobody) == (b"0\n", b"65534\n")


def test_root_keeps_the_set_id_bits(mount: Path) -> None:
    file = mount / "program"
    file.write_bytes(b"something")
    file.chmod(0o6777)

    with file.open("ab") as appending:
        appending.write(b"more")

    assert stat.S_IMODE(file.stat().st_mode) == 0o6777


def test_chown_clears_the_set_id_bits(mount: Path) -> None:
    (mount / "program").touch(0o777)
    (mount / "program").chmod(0o6777)

    os.chown(mount / "program", 1, 1)

    assert stat.S_IMODE((mount / "program").stat().st_mode) == 0o777


def test_who_creates_owns(mount: Path) -> None:
    mount.chmod(0o777)

    run_as_nobody('cd "$0"; touch file; mkdir dir; ln -s x link; mkfifo fifo', mount)

    owners = {name: (mount / name).lstat() for name in os.listdir(mount)}
    assert {(status.st_uid, status.st_gid) for status in owners.values()} == {(NOBODY, NOBODY)}
    assert len(owners) == 4


def test_permissions_are_checked(mount: Path) -> None:
    (mount / "secret").touch(0o600)

    with pytest.raises(subprocess.CalledProcessError):
        run_as_nobody('exec 2>&-; cat "$0"', mount / "secret")


def test_a_missing_name_may_appear(mount: Path) -> None:
    """The kernel remembers for long that a name is missing; a new file must end that."""
    missing = (mount / "file").exists()
    os.link(make(mount / "other"), mount / "file")
    linked = (mount / "file").exists()
    (mount / "file").unlink()
    gone = (mount / "file").exists()
    os.rename(mount / "other", mount / "file")

    assert (missing, linked, gone, (mount / "file").exists()) == (False, True, False, True)


def make(file: Path) -> Path:
    file.touch()
    return file


def test_a_copy_up_shows_in_its_directorys_ctime(stack: Stack) -> None:
    """The kernel, which asked for no change of the directory, is told; so is the next mount."""
    (stack.lower / "dir").mkdir()
    (stack.lower / "dir/file").touch()

    def shown() -> list[int]:
        directories = (stack.target, stack.target / "dir")
        return [directory.stat().st_ctime_ns for directory in directories]

    with serving(stack.spec, stack.plan):
        before = shown()
        (stack.target / "dir/file").chmod(0o600)
        on_disk = [path.stat().st_ctime_ns for path in (stack.upper, stack.upper / "dir")]
        assert wait_until(lambda: shown() == on_disk)
    with serving(stack.spec, stack.plan):
        assert shown() == on_disk
    assert before != on_disk
