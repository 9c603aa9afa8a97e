"""How the mount looks, who may use it, and how it goes away."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import stat
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers import mountinfo, mounting
from overlayfs_py.syscalls import mounts
from overlayfs_py.union.values import Volume
from tests.drivers.serving import Daemon, Stack, read_only, serving, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
IN_USER_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--")


def mount_options(target: Path) -> set[str]:
    """The options in the table of mounts, both the mount's own and the filesystem's."""
    found = subprocess.run(
        ["findmnt", "-n", "-o", "OPTIONS", target], capture_output=True, text=True, check=True
    )
    return set(found.stdout.strip().split(","))


def test_the_table_of_mounts_shows_source_and_type(stack: Stack) -> None:
    plan = stack.plan._replace(source="my, source", subtype="my-type")

    with serving(stack.spec, plan):
        found = mountinfo.topmost(os.fsencode(stack.target))

    assert found is not None
    assert (found.source, found.kind) == (b"my, source", b"fuse.my-type")


def test_a_plain_mount_has_no_restrictions(stack: Stack) -> None:
    with serving(stack.spec, stack.plan):
        options = mount_options(stack.target)

    assert {"rw", "default_permissions", "allow_other"} <= options
    assert not {"nosuid", "nodev", "noexec"} & options


def test_what_the_plan_restricts_is_restricted(stack: Stack) -> None:
    plan = stack.plan._replace(
        suid=False, dev=False, exec=False, noatime=True, sync=True, dirsync=True
    )

    with serving(stack.spec, plan):
        options = mount_options(stack.target)

    assert {"nosuid", "nodev", "noexec", "noatime", "sync", "dirsync"} <= options


@pytest.mark.parametrize("kind", ["planned", "without an upper"])
def test_a_read_only_mount_says_so_to_access(stack: Stack, kind: str) -> None:
    (stack.lower / "file").touch()
    spec = stack.spec if kind == "planned" else read_only(stack.spec)
    plan = stack.plan._replace(read_only=kind == "planned")

    with serving(spec, plan):
        writable = os.access(stack.target / "file", os.W_OK)
        with pytest.raises(OSError, match="Read-only") as caught:
            (stack.target / "new").touch()

    assert not writable
    assert caught.value.errno == errno.EROFS


def test_others_are_kept_out_where_the_plan_says_so(stack: Stack) -> None:
    for allow_root in (False, True):
        plan = stack.plan._replace(allow_other=False, allow_root=allow_root)
        with serving(stack.spec, plan):
            refused = subprocess.run(
                [*AS_NOBODY, "ls", stack.target], capture_output=True, text=True, check=False
            )
            mine = os.listdir(stack.target)

        assert "Permission denied" in refused.stderr
        assert mine == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(stack: Stack, number: signal.Signals) -> None:
    with serving(stack.spec, stack.plan) as daemon:
        daemon.signal(number)
        assert daemon.wait() == 0
        mounted = daemon.is_mounted

    assert not mounted


def test_a_signal_that_comes_before_the_driver_unmounts(stack: Stack) -> None:
    daemon = start(stack.spec, stack.plan, runner="early_signal_runner")
    status = daemon.wait()
    mounted = daemon.is_mounted

    assert stop(daemon) == ""
    assert status == 0
    assert not mounted


def test_a_signal_unmounts_what_is_in_use(stack: Stack) -> None:
    with serving(stack.spec, stack.plan) as daemon:
        fd = os.open(stack.target, os.O_RDONLY)
        try:
            daemon.signal(signal.SIGTERM)
            status = daemon.wait()
            with pytest.raises(OSError, match="not connected") as caught:
                os.listdir(fd)
        finally:
            os.close(fd)

    assert status == 0
    assert not daemon.is_mounted
    assert caught.value.errno == errno.ENOTCONN


def test_a_signal_loses_nothing_that_a_mapping_has_dirtied(stack: Stack) -> None:
    """Many times what the kernel sends without waiting for answers."""
    size = 128 << 20
    with (stack.upper / "mapped").open("wb") as file:
        file.truncate(size)
    with serving(stack.spec, stack.plan) as daemon:
        fd = os.open(stack.target / "mapped", os.O_RDWR)
        with mmap.mmap(fd, size) as mapping:
            for offset in range(0, size, mmap.PAGESIZE):
                mapping[offset] = 1
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
        with suppress(OSError):  # ENOTCONN: there is nobody left to hear of it
            os.close(fd)

    with (stack.upper / "mapped").open("rb") as file:
        pages = iter(lambda: file.read(mmap.PAGESIZE), b"")
        assert all(page[0] == 1 for page in pages)


def test_signals_that_come_together_are_one(stack: Stack) -> None:
    with serving(stack.spec, stack.plan) as daemon:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            daemon.signal(number)
        status = daemon.wait()

    assert status == 0
    assert not daemon.is_mounted


def test_umount_ends_the_daemon(daemon: Daemon) -> None:
    mounting.unmount(os.fsencode(daemon.target))

    assert daemon.wait() == 0


def test_who_mounts_there_next_is_left_alone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel numbers mounts by the lowest number that is free: the next one gets ours."""
    monkeypatch.setenv("GO", os.fspath(stack.base / "go"))
    daemon = start(stack.spec, stack.plan, runner="late_end_runner")
    try:
        mounting.unmount(os.fsencode(stack.target))
        subprocess.run(["mount", "-t", "tmpfs", "next", stack.target], check=True)
        (stack.base / "go").touch()
        status = daemon.wait()
        found = mountinfo.topmost(os.fsencode(stack.target))
        if found is not None:
            mounting.unmount(os.fsencode(stack.target))
    finally:
        words = stop(daemon)

    assert (status, words) == (0, "")
    assert found is not None
    assert found.kind == b"tmpfs"


def test_a_busy_mount_is_unmounted_only_lazily(daemon: Daemon) -> None:
    target = os.fsencode(daemon.target)
    fd = os.open(target, os.O_RDONLY)

    with pytest.raises(OSError, match="busy") as caught:
        mounting.unmount(target)
    mounting.unmount(target, lazy=True)
    still_served = os.listdir(fd)
    os.close(fd)

    assert caught.value.errno == errno.EBUSY
    assert still_served == []
    assert daemon.wait() == 0


def test_a_dead_daemon_s_mount_is_cleared(stack: Stack) -> None:
    daemon = start(stack.spec, stack.plan)
    daemon.process.kill()
    daemon.wait()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(stack.target)

    mounting.unmount(os.fsencode(stack.target))

    assert stop(daemon) == ""
    assert os.listdir(stack.target) == []


def test_a_stack_is_free_again_after_a_kill(stack: Stack) -> None:
    daemon = start(stack.spec, stack.plan)
    (stack.target / "kept").touch()
    daemon.process.kill()
    stop(daemon)

    with serving(stack.spec, stack.plan):
        names = os.listdir(stack.target)

    assert names == ["kept"]


def test_what_is_no_mount_point_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a mount point") as caught:
        mounting.unmount(os.fsencode(tmp_path))

    assert caught.value.filename == os.fsencode(tmp_path)


def test_a_mount_on_top_of_ours_stays(stack: Stack) -> None:
    target = os.fsencode(stack.target)
    daemon = start(stack.spec, stack.plan)
    mounts.mount(b"covering", target, b"tmpfs", 0)
    try:
        daemon.signal(signal.SIGTERM)
        status = daemon.wait()
        on_top = mountinfo.topmost(target)
    finally:
        mounts.umount(target)
        stop(daemon)

    assert status == 0
    assert on_top is not None
    assert on_top.source == b"covering"


def test_a_target_that_is_missing_or_no_directory_is_named(stack: Stack) -> None:
    (stack.base / "file").touch()

    for name, error in (("missing", "FileNotFoundError"), ("file", "NotADirectoryError")):
        target = os.fsencode(stack.base / name)
        with pytest.raises(AssertionError, match=f"{error}.*{name}"):
            start(stack.spec, stack.plan._replace(target=target))


def test_an_unknown_driver_is_named(stack: Stack) -> None:
    with pytest.raises(AssertionError, match=r"no driver 'swift'; there are auto, .*pyfuse3"):
        start(stack.spec, stack.plan, driver="swift")


def test_a_layer_may_contain_the_mount_point(stack: Stack) -> None:
    spec = stack.spec._replace(lower=(os.fsencode(stack.base),), upper=None, work=None)

    with serving(spec, stack.plan):
        names = os.listdir(stack.target)
        below = os.listdir(stack.target / "target")

    assert set(names) == {"lower", "upper", "work", "target"}
    assert below == []


def test_a_volume_may_contain_the_mount_point(stack: Stack) -> None:
    volume = Volume(os.fsencode(stack.base), b"/volume")

    with serving(stack.spec._replace(volumes=(volume,)), stack.plan):
        (stack.target / "volume" / "target" / "hidden").touch()
        names = os.listdir(stack.target / "volume")
        below = os.listdir(stack.target / "volume" / "target")

    assert {"lower", "upper", "work", "target"} <= set(names)
    assert below == ["hidden"]
    assert os.listdir(stack.target) == ["hidden"]


def test_an_upper_must_not_contain_the_mount_point(stack: Stack) -> None:
    target = stack.upper / "target"
    target.mkdir()

    with pytest.raises(AssertionError, match="the mount point lies inside"):
        start(stack.spec, stack.plan._replace(target=os.fsencode(target)))

    assert not os.path.ismount(target)


def test_no_layer_must_contain_the_mount_point_of_an_ordinary_user(stack: Stack) -> None:
    give_to_nobody(stack)
    spec = read_only(stack.spec._replace(lower=(os.fsencode(stack.base),)))
    plan = stack.plan._replace(allow_other=False)

    with (
        fuse_device_for_everyone(),
        pytest.raises(AssertionError, match="the mount point lies inside"),
    ):
        start(spec, plan, prefix=AS_NOBODY)

    assert not os.path.ismount(stack.target)


def test_root_of_a_user_namespace_may_have_the_mount_point_in_a_layer(stack: Stack) -> None:
    """Even in /: there are mounts below it, which a user namespace must not uncover."""
    give_to_nobody(stack)
    spec = stack.spec._replace(lower=(b"/",))
    inner = os.fsencode(stack.target).lstrip(b"/")

    with (
        fuse_device_for_everyone(),
        serving(spec, stack.plan, prefix=(*AS_NOBODY, *IN_USER_NAMESPACE)) as daemon,
    ):
        listed = subprocess.run(
            [
                *("nsenter", f"--target={daemon.process.pid}", "--user", "--mount"),
                *("ls", "-A", os.fsencode(stack.target) + b"/" + inner, stack.target),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )

    assert "etc" in listed.stdout
    assert listed.stdout.endswith(f"{inner.decode()}:\n")


@contextmanager
def fuse_device_for_everyone() -> Iterator[None]:
    """As udev sets it up on ordinary systems."""
    mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    try:
        yield
    finally:
        os.chmod("/dev/fuse", mode)


def give_to_nobody(stack: Stack) -> None:
    for directory in (stack.lower, stack.upper, stack.work, stack.target):
        os.chown(directory, NOBODY, NOBODY)


def test_an_ordinary_user_mounts_with_fusermount3(stack: Stack) -> None:
    give_to_nobody(stack)
    (stack.lower / "file").write_bytes(b"from below")
    os.chown(stack.lower / "file", NOBODY, NOBODY)
    plan = stack.plan._replace(allow_other=False)

    with fuse_device_for_everyone(), serving(stack.spec, plan, prefix=AS_NOBODY) as daemon:
        script = 'cd "$0" && umask 027 && cat file && touch new && mkdir new.d && ls -ln'
        shown = subprocess.run(
            [*AS_NOBODY, "sh", "-c", script, stack.target],
            capture_output=True,
            text=True,
            check=True,
        )
        mounted = mountinfo.topmost(os.fsencode(stack.target))
        options = mount_options(stack.target)
        daemon.signal(signal.SIGTERM)
        status = daemon.wait()

    assert "from below" in shown.stdout
    assert stat.S_IMODE((stack.upper / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((stack.upper / "new.d").stat().st_mode) == 0o750
    assert mounted is not None
    assert (mounted.kind, mounted.source) == (b"fuse.fuse-overlayfs-py", b"overlay")
    assert {"nosuid", "nodev"} <= options
    assert status == 0
    assert not daemon.is_mounted


def test_a_directory_that_the_server_may_not_list_is_permission_denied(stack: Stack) -> None:
    """It may go through: that takes a descriptor, which cannot list (EBADF)."""
    give_to_nobody(stack)
    (stack.lower / "closed").mkdir(mode=0o711)
    (stack.lower / "closed/file").write_bytes(b"readable")
    above = stack.base / "above"
    (above / "closed").mkdir(parents=True)
    spec = stack.spec._replace(lower=(os.fsencode(above), os.fsencode(stack.lower)))
    plan = stack.plan._replace(allow_other=False)

    with fuse_device_for_everyone(), serving(spec, plan, prefix=AS_NOBODY):
        script = 'cd "$0" || exit; ls closed; cat closed/file; rm -rf closed'
        done = subprocess.run(
            [*AS_NOBODY, "sh", "-c", script, stack.target],
            capture_output=True,
            text=True,
            check=False,
        )
    said = done.stderr.splitlines()
    assert len(said) == 3
    assert [line.rpartition(": ")[2] for line in said] == [os.strerror(errno.EACCES)] * 3


def test_an_ordinary_user_may_be_refused_allow_other(stack: Stack) -> None:
    give_to_nobody(stack)

    with (
        fuse_device_for_everyone(),
        serving(stack.spec, stack.plan, prefix=AS_NOBODY) as daemon,
    ):
        daemon.expected_words = (
            "WARNING:overlayfs_py.drivers.fusermount:the mount is for this user alone:"
            " /etc/fuse.conf has no line user_allow_other\n"
        )
        options = mount_options(stack.target)

    assert "allow_other" not in options


def test_what_fusermount3_says_is_passed_on(stack: Stack) -> None:
    for directory in (stack.upper, stack.work):
        os.chown(directory, NOBODY, NOBODY)

    with (
        fuse_device_for_everyone(),
        pytest.raises(AssertionError, match="no write access to mountpoint"),
    ):
        start(stack.spec, stack.plan._replace(allow_other=False), prefix=AS_NOBODY)


def test_root_of_a_user_namespace_mounts_by_itself(stack: Stack) -> None:
    give_to_nobody(stack)

    # The mount is in a namespace that only the daemon is in: /proc/PID/root leads there.
    with (
        fuse_device_for_everyone(),
        serving(stack.spec, stack.plan, prefix=(*AS_NOBODY, *IN_USER_NAMESPACE)) as daemon,
    ):
        inside = subprocess.run(
            [
                *("nsenter", f"--target={daemon.process.pid}", "--user", "--mount"),
                *("sh", "-c", 'cd "$0" && touch new && stat -c "%u %U" new', stack.target),
            ],
            capture_output=True,
            text=True,
            check=True,
        )

    assert inside.stdout == "0 root\n"
    assert (stack.upper / "new").stat().st_uid == NOBODY
