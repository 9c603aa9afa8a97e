"""A Python program runs containers, as root and as an ordinary user, and never forks itself."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import attempt, wait_until
from tests.system.unprivileged import as_user

if TYPE_CHECKING:
    import subprocess

    from tests.life.conftest import Engine

# What subprocess does is no fork to the interpreter: the child runs no Python before its exec.
HEAD = """
import os, signal, sys, threading
import overlayfs_py
from overlayfs_py.api import *

def refuse(event, arguments):
    if event in ("os.fork", "os.forkpty"):
        raise AssertionError("the program was forked")

sys.addaudithook(refuse)
"""


def attempt_script(engine: Engine, script: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", HEAD + textwrap.dedent(script)]
    return attempt(as_user(argv) if engine.is_user else argv, env=engine.environment)


def run_script(engine: Engine, script: str) -> str:
    done = attempt_script(engine, script)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_program_runs_a_container(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        line = "echo hello $WORD; echo bad >&2; cat /data/x; sleep 100"
        env = {"WORD": "big world"}
        with overlayfs_py.run("small:1", line, env=env, volumes={"data": "/data"}) as c:
            c.wait_for("big world", timeout=20)
            c.wait_for("can't open", timeout=20)
            print(c.status, c.pid > 0, c.exit_code, len(c.id), repr(c).startswith("<Container "))
            c.stop(timeout=0)
            print(c.status, c.pid, c.exit_code, c.wait(), c.wait(timeout=1))
            print(c.logs().splitlines())
            print(list(c.logs(follow=True))[0])
        print(c.status)
        """,
    )

    assert said.splitlines() == [
        "running True None 64 True",
        "exited None 137 137 137",
        "['hello big world', 'bad', \"cat: can't open '/data/x': No such file or directory\"]",
        "hello big world",
        "",
        "removed",
    ]
    assert engine("ps", "-aq") == ""


@AS_ROOT
def test_what_has_ended_is_there_until_the_block_ends(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        with overlayfs_py.run("small:1", ["sh", "-c", "echo x; exit 3"], name="one") as c:
            print(c.wait(), c.logs(), c.name)
            c.start()
            print(c.wait(timeout=20), c.logs().split())
        """,
    )

    assert said == "3 x\n one\n3 ['x', 'x']\n"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_containers_end_with_their_program_however_that_ends(engine: Engine, end: str) -> None:
    attempt_script(
        engine,
        f"""
        running = overlayfs_py.run("small:1", ["sleep", "100"])
        ended = overlayfs_py.run("small:1", ["true"])
        ended.wait()
        {end}
        """,
    )

    wait_until(lambda: engine("ps", "-aq") == "", "both containers to go", seconds=20)


@AS_ROOT
def test_threads(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        found = []

        def work(number):
            with overlayfs_py.run("small:1", f"echo {number}; sleep 100") as c:
                c.wait_for(str(number), timeout=60)
                found.append(c.logs())

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sorted(found))
        """,
    )

    assert said == "['0\\n', '1\\n', '2\\n']\n"


def test_files(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        with overlayfs_py.run("small:1", ["sleep", "100"], upper_limit="1m") as c:
            file = c.fs / "srv/deep/new"
            file.parent.mkdir(parents=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("text\\n")
            print(file, file.read_bytes(), file.exists(), file.is_file(), file.parent.is_dir())
            print(list(file.parent.iterdir()), oct(file.stat().st_mode), file.stat().st_uid)
            file.unlink()
            file.unlink(missing_ok=True)
            for wrong in (lambda: file.read_text(), lambda: (c.fs / "etc").read_bytes(),
                          lambda: (c.fs / "etc").mkdir(),
                          lambda: (c.fs / "srv/large").write_bytes(bytes(2 << 20))):
                try:
                    wrong()
                except OSError as error:
                    print(type(error).__name__, error.filename)
        """,
    )

    assert said.splitlines() == [
        "/srv/deep/new b'text\\n' True True True",
        "[ContainerPath('/srv/deep/new')] 0o100644 0",
        "FileNotFoundError /srv/deep/new",
        "IsADirectoryError /etc",
        "FileExistsError /etc",
        "OSError /srv/large",  # the disk is full
    ]


def test_copies(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        import pathlib, tempfile
        with overlayfs_py.run("small:1", ["sleep", "100"]) as c, tempfile.TemporaryDirectory() as d:
            here = pathlib.Path(d)
            (here / "tree/sub").mkdir(parents=True)
            (here / "tree/sub/file").write_text("text")
            os.chdir(d)
            c.copy_in("tree/.", "/srv")
            c.copy_out("/srv/sub", here / "back")
            print((c.fs / "srv/sub/file").stat().st_uid, (here / "back/file").read_text())
            try:
                c.copy_out("/absent", here)
            except OverlayError as error:
                print(str(error).partition(":")[2], error.exit_code)
        """,
    )

    assert said.splitlines() == ["0 text", "/absent: No such file or directory 1"]


def test_no_link_leads_out_of_the_container(engine: Engine) -> None:
    secret = engine.directory / "secret"
    secret.write_text("of the host\n")
    secret.chmod(0o666)
    up = "/.." * 20
    said = run_script(
        engine,
        f"""
        line = "ln -s {up}{secret} /out; ln -s {secret.parent} /dir; mkfifo /pipe; echo made"
        with overlayfs_py.run("small:1", f"busybox {{line.replace('; ', '; busybox ')}}; sleep 100") as c:
            c.wait_for("made", timeout=20)
            for wrong in (lambda: (c.fs / "out").read_bytes(), lambda: (c.fs / "out").write_text("x"),
                          lambda: (c.fs / "dir/secret").read_bytes(),
                          lambda: (c.fs / "../../{secret}").read_bytes(),
                          lambda: (c.fs / "pipe").read_bytes()):
                try:
                    print(wrong())
                except OSError as error:
                    print(type(error).__name__)
        """,  # noqa: E501
    )

    assert said.split() == ["FileNotFoundError"] * 4 + ["OSError"]
    assert secret.read_text() == "of the host\n"
    secret.unlink()


@AS_ROOT
def test_what_goes_wrong_is_an_error_of_ours(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        import json

        def fails(call):
            try:
                call()
            except OverlayError as error:
                print(json.dumps([type(error).__name__, str(error), error.exit_code]))

        run = overlayfs_py.run
        fails(lambda: run("nosuch:1", pull="never"))
        fails(lambda: run("small:1", name="a/b"))
        fails(lambda: run("small:1", ["nosuch"]))
        fails(lambda: run("small:1", options=["--nosuch"]))
        with run("small:1", "echo last words; exit 4", name="one") as c:
            fails(lambda: c.wait_for("never", timeout=20))
            fails(lambda: c.kill())
            fails(lambda: c.fs.exists())
            fails(lambda: run("small:1", name="one"))
        fails(lambda: c.wait_for("never"))
        with run("small:1", ["sleep", "100"], name="one") as c:
            fails(lambda: c.wait_for("never", timeout=0.1))
            fails(lambda: c.wait_for(lambda: False, timeout=0.1))
            fails(lambda: c.wait(timeout=0.1))
        """,
    )

    found = [json.loads(line) for line in said.splitlines()]
    assert [name for name, _, _ in found] == [
        *["Failure"] * 4,
        *["Ended", "NotRunning", "NotRunning", "Failure", "NotInStore"],
        *["WaitTimeout"] * 3,
    ]
    assert [code for _, _, code in found[:4]] == [125, 125, 127, 125]
    assert found[0][1] == "nosuch:1: no such image"
    assert found[4][1] == "one: ended with 4 before the output 'never' came: last words"
    assert found[-1][1] == "one: its end did not come within 0.1 s"
    assert engine("ps", "-aq") == ""


@AS_ROOT
def test_a_port_answers(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        import socket
        with socket.create_server(("127.0.0.1", 0)) as free:
            number = free.getsockname()[1]
        with overlayfs_py.run("small:1", ["busybox", "nc", "-l", "-p", str(number)]) as c:
            c.wait_for(number, timeout=20)
            print(c.port(number) == number)
        """,
    )

    assert said == "True\n"


def test_a_free_port_leads_to_one_of_its_own(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        import socket
        # What forwards the port takes connections at once; the server comes later.
        line = "sleep 0.3; echo answer | busybox nc -l -p 80; sleep 100"
        with overlayfs_py.run("small:1", line, network="none", ports=[80]) as c:
            c.wait_for(80, timeout=20)
            with socket.create_connection(("127.0.0.1", c.port(80)), timeout=20) as sock:
                print(sock.makefile().readline())
            try:
                c.port(81)
            except OverlayError as error:
                print(str(error).partition(":")[2])
        """,
    )

    assert said.split("\n") == ["answer", "", " port 81 is not published", ""]


def test_commands_beside_the_containers_own(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        with overlayfs_py.run("small:1", ["sleep", "100"], env={"A": "1"}) as c:
            print(c.exec(["sh", "-c", "echo out; echo err >&2; exit 7"]))
            print(c.exec("echo $A $B | cat; pwd", env={"B": "2"}, workdir="/tmp").stdout.split())
            print(c.exec(["cat"], input="typed").stdout, c.exec(["cat"]).stdout)
            print(c.exec(["nosuch"]).exit_code, c.exec("exit 125").exit_code)
            try:
                c.exec(["sleep", "100"], timeout=0.2)
            except WaitTimeout as error:
                print(str(error).partition(":")[2])
            c.stop(timeout=0)
            try:
                c.exec(["true"])
            except NotRunning as error:
                print(str(error).partition(":")[2])
        """,
    )

    assert said.splitlines() == [
        r"Result(exit_code=7, stdout='out\n', stderr='err\n')",
        "['1', '2', '/tmp']",
        "typed ",
        "127 125",
        " the command's end did not come within 0.2 s",
        " the container is not running",
    ]


def test_snapshots_and_branches(engine: Engine) -> None:
    said = run_script(
        engine,
        """
        with overlayfs_py.run("small:1", "sleep 1000") as c:
            (c.fs / "file").write_text("one")
            print(c.snapshot())
            (c.fs / "file").write_text("two")
            print(c.snapshot("second"))
            with c.branch(tag="1") as other:
                print((other.fs / "file").read_text(), other.status, other.name != c.name)
                (other.fs / "file").write_text("other")
            c.restore("1")
            print((c.fs / "file").read_text())
            c.stop(timeout=0)
            c.restore("second")
            print(c.snapshot())
            c.start()
            print((c.fs / "file").read_text())
            c.restore("1")
            c.reset()
            print((c.fs / "file").read_text())
            try:
                c.restore("third")
            except OverlayError as error:
                print(error)
        print(c.status)
        """,
    )

    *lines, error, status = said.splitlines()
    assert lines == ["1", "second", "one running True", "one", "2", "two", "one"]
    assert error.endswith(": third: no such snapshot")
    assert status == "removed"
