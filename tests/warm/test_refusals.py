"""Whatever is not the same for a client starts the usual way, in silence."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli import warm_place
from overlayfs_py.syscalls import namespaces, seccomp
from overlayfs_py.warm import client
from tests.system.processes import run, wait_until
from tests.system.unprivileged import as_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.warm.conftest import Warm

_ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
_LANDLOCK = (444, 446)  # landlock_create_ruleset, landlock_restrict_self
_MAKE_FIFO = struct.pack("=QQQ", 1 << 10, 0, 0)


def _confine_by_landlock() -> None:
    """Forbid this process to make FIFOs, which says nothing in its /proc: root needs no more."""
    libc = ctypes.CDLL(None, use_errno=True)
    create, restrict = _LANDLOCK
    fd = libc.syscall(create, _MAKE_FIFO, len(_MAKE_FIFO), 0)
    assert fd >= 0
    assert libc.syscall(restrict, fd, 0) == 0
    os.close(fd)


def _block(number: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])


_PYTHON = (sys.executable,)
# How a client is started, and what the warm process says of it; None: it says nothing, the client
# has seen by itself that it is not for it.
_BY_PROGRAMS = {
    "mount namespace": (["unshare", "--mount"], "mnt namespace"),
    "network namespace": (["unshare", "--net"], "net namespace"),
    "pid namespace": (["unshare", "--pid", "--fork", "--mount-proc"], None),
    "pid namespace, same /proc": (["unshare", "--pid", "--fork"], None),
    "user namespace": (["unshare", "--user", "--map-root-user"], None),
    "no new privileges": (["setpriv", "--no-new-privs"], "NoNewPrivs"),
    "fewer capabilities": (["setpriv", "--bounding-set", "-sys_time"], "CapBnd"),
    "another group": (["setpriv", "--groups", "7"], "Groups"),
    "limits": (["prlimit", "--nofile=1000"], "limits"),
    "niceness": (["nice", "-n", "5"], "nice, priority"),
    "IO priority": (["ionice", "-c", "3"], "io priority"),
    "scheduler": (["chrt", "--batch", "0"], "policy"),
    "OOM killer": (["choom", "-n", "500", "--"], "oom_score_adj"),
    "ignored signal": (["nohup"], "SigIgn"),
    "personality": (["setarch", "-R"], "personality"),
    "tracer": (["strace", "-f", "-e", "trace=none", "-qq", "-o", "/dev/null"], "TracerPid"),
    "interpreter's options": ([*_PYTHON, "-O"], "interpreter's options and paths"),
}
_BY_CALLS: dict[str, tuple[Callable[[], object], str | None]] = {
    "filter of system calls": (partial(seccomp.install, _ALLOW_ALL), "Seccomp"),
    "landlock": (_confine_by_landlock, None),
    "blocked signal": (partial(_block, signal.SIGUSR1), "SigBlk"),
    "stack": (partial(resource.setrlimit, resource.RLIMIT_STACK, (1 << 22, 1 << 23)), "limits"),
    "domain name": (partial(namespaces.unshare, namespaces.CLONE_NEWUTS), "uts namespace"),
}
_BY_VARIABLES = {
    "PYTHONHASHSEED": "1",
    "LD_BIND_NOW": "1",
    "LC_ALL": "C.UTF-8",
    "LANG": "de_DE.UTF-8",
    "TZ": "Asia/Tokyo",
    "MALLOC_ARENA_MAX": "1",
    "OPENSSL_CONF": "/dev/null",
}


def _require_refused(warm: Warm, why: str | None, **more: object) -> None:
    commands, refusals = warm.commands, _counted(warm)

    status, out, err = warm("probe", "end", 3, **more)

    assert (status, out) == (3, b"ends\n"), err
    assert warm.commands == commands
    new = [reason for reason, count in _counted(warm).items() if refusals.get(reason) != count]
    assert new == [] if why is None else (len(new) == 1 and why in new[0]), new


def _counted(warm: Warm) -> dict[str, int]:
    found = warm.status()["refused"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", _BY_PROGRAMS)
def test_by_a_program(warm: Warm, name: str, tmp_path: Path) -> None:
    before, why = _BY_PROGRAMS[name]

    _require_refused(warm, why, before=tuple(before), cwd=tmp_path)


@pytest.mark.parametrize("name", _BY_CALLS)
def test_by_a_call(warm: Warm, name: str) -> None:
    call, why = _BY_CALLS[name]

    _require_refused(warm, why, preexec_fn=call)


@pytest.mark.parametrize("name", _BY_VARIABLES)
def test_by_a_variable(warm: Warm, name: str) -> None:
    environment = {**warm.environment, name: _BY_VARIABLES[name]}

    # The interpreter's flags show some of them already.
    _require_refused(warm, "", environment=environment)


def test_by_another_cgroup(warm: Warm) -> None:
    groups = Path("/sys/fs/cgroup/pids")
    if not groups.is_dir():
        groups = Path("/sys/fs/cgroup")
    group = groups / f"overlayfs-warm-{os.getpid()}"
    group.mkdir()
    try:
        join = partial((group / "cgroup.procs").write_text, "0")
        _require_refused(warm, "cgroup", preexec_fn=join)
    finally:
        wait_until(lambda: (group / "cgroup.procs").read_text() == "", "the group to be empty")
        group.rmdir()


def test_by_one_more_descriptor(warm: Warm) -> None:
    with open("/dev/null") as file:
        number = file.fileno()
        _require_refused(warm, f"open descriptors: {number}", pass_fds=(number,))


def test_by_a_closed_stream(warm: Warm) -> None:
    status, _, _ = warm("probe", "end", 3, preexec_fn=partial(os.close, 0))

    assert status == 3
    assert any("open descriptors" in why for why in warm.refusals)


def test_by_a_terminal(warm: Warm) -> None:
    master, slave = pty.openpty()
    try:
        _require_refused(warm, None, stdin=slave)
    finally:
        os.close(master)
        os.close(slave)


def test_by_a_terminal_of_the_session(warm: Warm) -> None:
    """Though no stream is one: what /dev/tty is, and who stops for whom, is the session's."""
    commands = warm.commands
    script = f"exec 0</dev/null; {warm.program} probe end 3 >/dev/null 2>&1"
    pid, master = pty.fork()
    if not pid:
        os.closerange(3, 1 << 10)
        os.execve("/bin/sh", ["sh", "-c", script], warm.environment)
    _, status = os.waitpid(pid, 0)
    os.close(master)

    assert os.waitstatus_to_exitcode(status) == 3
    assert warm.commands == commands
    assert "terminal" in warm.refusals[-1]


def test_another_root_of_the_same_files(tmp_path: Path) -> None:
    """A bind mount of / has the inode of /, and may be read-only."""
    from overlayfs_py.warm.circumstances import Process

    run(["mount", "--bind", "/", tmp_path])
    try:
        with (
            subprocess.Popen(["sleep", "60"], preexec_fn=partial(os.chroot, tmp_path)) as inside,
            subprocess.Popen(["sleep", "60"]) as outside,
        ):
            theirs, ours = Process(inside.pid), Process(outside.pid)
            found, own = theirs.facts(), ours.facts()
            for process in (theirs, ours):
                process.close()
            inside.kill()
            outside.kill()
    finally:
        run(["umount", "--lazy", tmp_path])

    assert {name for name in own if own[name] != found[name]} == {"root"}


def test_changed_code_ends_it(anew: Warm) -> None:
    anew.start()
    assert anew.has_run(lambda: anew("probe", "end", 3))

    # Next to the program, where Python looks first, and once more for every module that is new.
    (anew.program.parent / "resource.py").write_text("raise SystemExit(4)\n")

    assert anew("probe", "limited")[0] == 4
    assert not anew.is_there()


class TestOthers:
    """Processes that speak to the socket, or listen there, without being what they should be."""

    def test_another_user_is_told_nothing(self, warm: Warm) -> None:
        """Even where the directory lets them in."""
        ask = (
            "import socket, sys; from overlayfs_py.warm import client;"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.settimeout(20); s.sendall(client.packed([b'status'])); print(s.recv(100))"
        )
        places = (warm.directory, warm.runtime, warm.socket.parent, warm.socket)
        modes = [stat.S_IMODE(place.stat().st_mode) for place in places]
        try:
            for place in places:
                place.chmod(0o777)
            done = subprocess.run(
                as_user([sys.executable, "-c", ask, warm.socket]), capture_output=True
            )
        finally:
            for place, mode in zip(places, modes, strict=True):
                place.chmod(mode)

        assert done.stdout in (b"", b"b''\n")
        assert done.returncode == 0 or done.stderr.endswith((b"reset by peer\n", b"pipe\n"))

    @pytest.fixture
    def line(self, warm: Warm) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(warm.socket))
            yield sock

    def _proposal(self, warm: Warm, secret: bytes | None = None) -> bytes:
        if secret is None:
            secret = Path(f"/proc/{warm.pid}/fd/{client.SECRET_FD}").read_bytes()
        own = client.own_facts()
        return client.packed([client.RUN, secret, b"3", b"4", own, client.interpreter()])

    def test_who_cannot_trace_it_is_refused(self, warm: Warm, line: socket.socket) -> None:
        line.sendall(self._proposal(warm, bytes(client.SECRET_BYTES)))

        assert line.recv(1) == client.REFUSED
        assert "right to trace the template" in warm.refusals

    def test_a_connection_is_its_makers(self, warm: Warm, line: socket.socket) -> None:
        """One that has been handed on lets nobody else speak for who made it."""
        proposal = self._proposal(warm)
        pid = os.fork()
        if not pid:
            line.sendall(proposal)
            os._exit(0)
        os.waitpid(pid, 0)

        assert line.recv(1) == client.REFUSED
        assert "sender" in warm.refusals

    def test_an_order_comes_after_the_answer(self, warm: Warm) -> None:
        """An earlier one may be of a process that has ended since, and left its number to this."""
        commands = warm.commands

        assert warm("hasty", warm.socket) == (0, client.AGREED + client.REFUSED, b"")
        assert warm.commands == commands

    @pytest.mark.parametrize(
        "said",
        [b"\0\0\0\1x", b"\0\0\0\0", b"\xff" * 64, client.packed([b"nosuch"]), client.packed([])],
    )
    def test_nonsense_is_refused(self, warm: Warm, line: socket.socket, said: bytes) -> None:
        line.sendall(said)

        assert line.recv(1) == client.REFUSED
        assert warm.has_run(lambda: warm("probe", "end", 0))

    def test_who_is_no_warm_process_is_told_nothing(self, anew: Warm) -> None:
        """Not the words, not the environment, no stream; the command starts the usual way."""
        directory = anew.runtime / "overlayfs-py-warm"
        directory.mkdir(mode=0o700)
        place = Path(warm_place.path_in(str(directory)))
        with socket.socket(socket.AF_UNIX) as fake:
            fake.bind(str(place))
            fake.listen()
            process = anew.popen("probe", "end", 3)
            sock, _ = fake.accept()
            # Its fourth descriptor is whatever the tests have there: a pipe, for a worker's.
            sock.settimeout(20)
            said = sock.recv(1 << 16)
            if said:
                sock.sendall(client.AGREED + bytes(client.SECRET_BYTES))
            more = sock.recv(1 << 16) if said else b""
            sock.close()

        assert b"probe" not in more + said[: said.find(b"(")]
        assert b"PROBED" not in said + more
        assert process.communicate(timeout=30)[0] == b"ends\n"
        assert process.returncode == 3

    @pytest.mark.parametrize("kind", ["mode", "owner", "link", "file"])
    def test_a_directory_that_another_could_write_is_none(self, anew: Warm, kind: str) -> None:
        place = anew.runtime / "overlayfs-py-warm"
        if kind == "link":
            (anew.directory / "real").mkdir(mode=0o700)
            place.symlink_to(anew.directory / "real")
        elif kind == "file":
            place.touch()
        else:
            place.mkdir(mode=0o755 if kind == "mode" else 0o700)
            if kind == "owner":
                os.chown(place, 65534, 65534)

        assert anew("warm", "start") == (
            1,
            b"",
            f"overlayfs-py: {place}: it must be a directory of yours, with mode 0700\n".encode(),
        )
        assert anew("probe", "end", 3)[0] == 3


def test_what_it_says_is_for_programs_too(warm: Warm) -> None:
    found = json.loads(warm("warm", "status", "--json")[1])

    assert found["running"] is True
    assert found["commands_running"] == 0
    assert found["idle"] == 600


def test_one_in_a_cage_is_none(anew: Warm) -> None:
    """What confines it cannot be compared, so it would have to refuse everybody."""
    status, _, err = anew("warm", "start", before=("setpriv", "--no-new-privs"))

    assert (status, err) == (
        1,
        b"overlayfs-py: warm: NoNewPrivs: what confines this process cannot be compared\n",
    )
