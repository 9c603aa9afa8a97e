"""Whatever is wrong with the input: one line that names the object and the reason, no mount."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from overlayfs_py.drivers.mounting import unmount
from overlayfs_py.syscalls import mounts
from tests.support.snapshot import snapshot
from tests.system.mount_table import mounted_at
from tests.system.processes import attempt, run, wait_until
from tests.system.stack import EMPTY, Stack, make_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = 1  # the host refused: an errno stands behind it
USAGE = 2  # the command line cannot be right on any host


class Refusal(NamedTuple):
    """Options that cannot be mounted, and what the one line has to say."""

    options: str
    object: str
    reason: str
    code: int = HOST


UPPER = "upperdir=mount/upper,workdir=mount/work"
MISSING = "No such file or directory"
NO_DIRECTORY = "Not a directory"

REFUSALS = {
    "missing layer": Refusal(f"lowerdir=top:nowhere,{UPPER}", "nowhere", MISSING),
    "layer is a file": Refusal(f"lowerdir=top:file,{UPPER}", "file", NO_DIRECTORY),
    "missing upper": Refusal("lowerdir=top,upperdir=no,workdir=mount/work", "no", MISSING),
    "upper is a file": Refusal(
        "lowerdir=top,upperdir=file,workdir=mount/work", "file", NO_DIRECTORY
    ),
    "missing workdir": Refusal("lowerdir=top,upperdir=mount/upper,workdir=no", "no", MISSING),
    "workdir is the upper": Refusal(
        "lowerdir=top,upperdir=mount/upper,workdir=mount/upper",
        "mount/upper",
        "is the same as upperdir=mount/upper",
    ),
    "escape in a name": Refusal("lowerdir=\x1b[31m", "\\x1b[31m: ", MISSING),
    "bytes that are no text": Refusal("lowerdir=\udcff", "\\xff: ", MISSING),
    "missing volume": Refusal(f"lowerdir=top,{UPPER},volume=nowhere:/data", "nowhere", MISSING),
    "no layer at all": Refusal(UPPER, "lowerdir", "", USAGE),
    "upper without workdir": Refusal("lowerdir=top,upperdir=mount/upper", "workdir", "", USAGE),
    "workdir without upper": Refusal("lowerdir=top,workdir=mount/work", "upperdir", "", USAGE),
    "torn mapping": Refusal("lowerdir=top,uidmapping=0:1", "uidmapping", "0:1", USAGE),
    "mapping of words": Refusal("lowerdir=top,gidmapping=a:b:c", "gidmapping", "'a'", USAGE),
    "volume without a place": Refusal("lowerdir=top,volume=bottom", "volume", "bottom", USAGE),
    "xattr_permissions=9": Refusal(
        "lowerdir=top,xattr_permissions=9", "xattr_permissions", "9", USAGE
    ),
}


@pytest.fixture
def stack(scratch: Path) -> Stack:
    (scratch / "file").write_text("no directory\n")
    return Stack.make(scratch / "mount", make_layers(scratch))


@contextmanager
def small_filesystem(target: Path, size: str) -> Iterator[Path]:
    """A filesystem of its own, of so many bytes."""
    target.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", target])
    try:
        yield target
    finally:
        run(["umount", target])


def one_line(stderr: str) -> str:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    return lines[0]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_one_line_with_object_and_reason(
    stack: Stack, overlayfs_py: Path, scratch: Path, refusal: Refusal
) -> None:
    argv = [overlayfs_py, "mount", "-o", refusal.options, stack.target]
    done = attempt(argv, env=EMPTY, cwd=scratch)

    line = one_line(done.stderr)
    assert refusal.object in line
    assert refusal.reason in line
    assert done.returncode == refusal.code
    assert done.stdout == ""
    assert mounted_at(stack.target) is None


def test_the_mount_program_refuses_in_the_same_words(
    stack: Stack, mount_program: Path, scratch: Path
) -> None:
    options = f"lowerdir=top:nowhere,{UPPER}"
    done = attempt([mount_program, "-o", options, stack.target], env=EMPTY, cwd=scratch)

    assert "nowhere" in one_line(done.stderr)
    assert MISSING in done.stderr
    assert done.returncode == HOST


def test_a_missing_mount_point_is_named(stack: Stack, overlayfs_py: Path) -> None:
    target = stack.target / "nowhere"
    done = attempt([overlayfs_py, "mount", "-o", stack.options, target], env=EMPTY)

    line = one_line(done.stderr)
    assert str(target) in line
    assert MISSING in line
    assert done.returncode == HOST


def test_a_file_is_no_mount_point(stack: Stack, overlayfs_py: Path, scratch: Path) -> None:
    target = scratch / "file"
    done = attempt([overlayfs_py, "mount", "-o", stack.options, target], env=EMPTY)

    line = one_line(done.stderr)
    assert str(target) in line
    assert NO_DIRECTORY in line
    assert mounted_at(target) is None


def test_upper_and_workdir_must_share_a_filesystem(
    stack: Stack, overlayfs_py: Path, scratch: Path
) -> None:
    with small_filesystem(scratch / "elsewhere", "1m") as elsewhere:
        torn = replace(stack, work=elsewhere)
        done = attempt([overlayfs_py, "mount", "-o", torn.options, stack.target], env=EMPTY)

    line = one_line(done.stderr)
    assert str(elsewhere) in line
    assert "filesystem" in line
    assert done.returncode == HOST
    assert mounted_at(stack.target) is None


def test_an_upper_in_use_is_shown_read_only(
    stack: Stack, overlayfs_py: Path, scratch: Path
) -> None:
    """As engines mount it to compare or commit what a running container has written."""
    second = replace(stack, target=scratch / "merged2")
    third = replace(second, target=scratch / "merged3")
    for directory in (second.target, third.target):
        directory.mkdir()
    with stack.mounted(overlayfs_py) as merged:
        (merged / "first").write_text("seen\n")
        for again, words in ((second, ""), (third, "ro,")):
            options = words + again.options
            done = attempt([overlayfs_py, "mount", "-o", options, again.target], env=EMPTY)
            assert done.returncode == 0
            if words:
                assert done.stderr == ""
            else:
                line = one_line(done.stderr)
                assert f"upperdir={stack.upper}" in line
                assert "read-only" in line
            assert (again.target / "first").read_text() == "seen\n"
            with pytest.raises(OSError, match="Read-only file system"):
                (again.target / "mine").touch()
        (merged / "still").write_text("works\n")
        for again in (second, third):
            unmount(os.fsencode(again.target))
    with stack.mounted(overlayfs_py) as merged:
        assert (merged / "still").read_text() == "works\n"


def test_an_upper_in_use_is_refused_where_it_is_asked_for(
    stack: Stack, overlayfs_py: Path, scratch: Path
) -> None:
    second = replace(stack, work=scratch / "work2", target=scratch / "merged2")
    third = replace(stack, upper=scratch / "upper3", target=second.target)
    for directory in (second.work, second.target, third.upper):
        directory.mkdir()
    with stack.mounted(overlayfs_py) as merged:
        for options, name in (
            (f"index=on,{second.options}", f"upperdir={stack.upper}"),
            (third.options, f"workdir={stack.work}"),
        ):
            argv = [overlayfs_py, "mount", "-o", options, second.target]
            done = attempt(argv, env=EMPTY)
            line = one_line(done.stderr)
            assert name in line
            assert os.strerror(errno.EBUSY) in line
            assert done.returncode == HOST
            assert mounted_at(second.target) is None
        (merged / "still").write_text("works\n")
    with second.mounted(overlayfs_py) as merged:
        assert (merged / "still").read_text() == "works\n"


def test_an_upper_that_is_just_unmounted_is_written_again(stack: Stack, overlayfs_py: Path) -> None:
    """umount(8) returns before the daemon has let go."""
    for number in range(5):
        argv = [overlayfs_py, "mount", "-o", stack.options, stack.target]
        done = attempt(argv, env=EMPTY)
        assert (done.returncode, done.stderr) == (0, "")
        (stack.target / f"f{number}").touch()
        mounts.umount(os.fsencode(stack.target))


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_an_upper_in_another_mount_of_ours_is_refused(
    stack: Stack, overlayfs_py: Path, scratch: Path, driver: str
) -> None:
    with stack.mounted(overlayfs_py, driver=driver) as merged:
        inner = replace(
            stack, upper=merged / "u", work=merged / "w", target=scratch / "inner merged"
        )
        for directory in (inner.upper, inner.work, inner.target):
            directory.mkdir()
        done = attempt([overlayfs_py, "mount", "-o", inner.options, inner.target], env=EMPTY)
        line = one_line(done.stderr)
        assert f"upperdir={inner.upper}: it lies in an overlay mount" in line
        assert done.returncode == HOST
        assert mounted_at(inner.target) is None


def test_an_upper_in_a_kernel_overlay_works(
    stack: Stack, overlayfs_py: Path, scratch: Path
) -> None:
    """As in a container of docker's."""
    outer = scratch / "outer"
    for name in ("l", "u", "w", "m"):
        (outer / name).mkdir(parents=True)
    options = f"lowerdir={outer}/l,upperdir={outer}/u,workdir={outer}/w"
    mounts.mount(b"overlay", os.fsencode(outer / "m"), b"overlay", 0, options.encode())
    try:
        inner = replace(stack, upper=outer / "m/u", work=outer / "m/w")
        inner.upper.mkdir()
        inner.work.mkdir()
        with inner.mounted(overlayfs_py) as merged:
            (merged / "etc/plain").unlink()
            (merged / "new").write_text("here\n")
        with inner.mounted(overlayfs_py) as merged:
            assert not (merged / "etc/plain").exists()
            assert (merged / "new").read_text() == "here\n"
    finally:
        mounts.umount(os.fsencode(outer / "m"))


def test_foreign_files_in_the_workdir_stay(stack: Stack, overlayfs_py: Path) -> None:
    """Somebody named the wrong directory: what is theirs is not ours to clear."""
    (stack.work / "thesis").mkdir()
    (stack.work / "thesis/chapter").write_text("years of work\n")
    with stack.mounted(overlayfs_py) as merged:
        (merged / "etc/plain").chmod(0o600)

    assert (stack.work / "thesis/chapter").read_text() == "years of work\n"


def test_an_unknown_option_is_reported_and_ignored(stack: Stack, overlayfs_py: Path) -> None:
    options = f"{stack.options},lazytime,no_such=thing,,"
    done = attempt([overlayfs_py, "mount", "-o", options, stack.target], env=EMPTY)
    listed = sorted(entry.name for entry in stack.target.iterdir())
    run([overlayfs_py, "umount", stack.target], env=EMPTY)

    assert done.returncode == 0
    assert "no_such" in done.stderr
    assert listed == ["etc", "only", "usr"]


def test_umount_of_what_is_not_mounted_says_so(stack: Stack, overlayfs_py: Path) -> None:
    done = attempt([overlayfs_py, "umount", stack.target], env=EMPTY)

    assert str(stack.target) in one_line(done.stderr)
    assert done.returncode == HOST


def append(file: Path) -> None:
    with file.open("ab", buffering=0) as opened:
        opened.write(b"more\n")


def change_mode(file: Path) -> None:
    file.chmod(0o600)


@pytest.mark.parametrize("change", [append, change_mode])
def test_a_full_disk_leaves_the_old_file(
    stack: Stack, overlayfs_py: Path, scratch: Path, change: Callable[[Path], None]
) -> None:
    """A copy-up that does not fit fails with ENOSPC and leaves no half of it, anywhere."""
    large = stack.lower[1] / "large"
    large.write_bytes(b"old\n" * (1 << 19))
    with small_filesystem(scratch / "small", "1m") as disk:
        small = Stack.make(disk / "home", stack.lower)
        with small.mounted(overlayfs_py) as merged:
            before = snapshot(merged)
            with pytest.raises(OSError, match="No space left") as caught:
                change(merged / "large")

            assert caught.value.errno == errno.ENOSPC
            assert snapshot(merged) == before
            assert [path for path in small.work.rglob("*") if path.is_file()] == []
            (merged / "small").write_text("fits\n")
            (merged / "etc/plain").chmod(0o600)
            assert (merged / "etc/plain").read_text() == "plain\n"
        assert not (small.upper / "large").exists()


def test_a_write_that_does_not_fit_tells_the_writer(
    stack: Stack, overlayfs_py: Path, scratch: Path
) -> None:
    with small_filesystem(scratch / "small", "1m") as disk:
        small = Stack.make(disk / "home", stack.lower)
        with small.mounted(overlayfs_py) as merged:
            with pytest.raises(OSError, match="No space left") as caught:
                (merged / "new").write_bytes(bytes(4 << 20))

            assert caught.value.errno == errno.ENOSPC
            (merged / "new").unlink()
            # The kernel tells the daemon of the last close when it likes.
            wait_until(lambda: os.statvfs(disk).f_bavail * 4096 > 1 << 19, "the space to be free")
            (merged / "new").write_bytes(bytes(1 << 18))
            assert (merged / "new").stat().st_size == 1 << 18
