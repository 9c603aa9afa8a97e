"""`exec`: one more command in a container that runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT
from tests.system.processes import processes_naming, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.life.conftest import Engine

IDLE = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def web(engine: Engine) -> Engine:
    """A container `web` that runs, with a variable and a directory of its own."""
    start(engine, "web", "-e", "OWN=1", "-w", "/srv")
    return engine


def start(engine: Engine, name: str, *options: str, script: str = IDLE) -> None:
    engine("run", "-d", "--name", name, *options, "small:1", "sh", "-c", script)


def first_pid(engine: Engine, name: str) -> int:
    ident = engine("ps", "-aq", "--no-trunc", "--filter", f"name={name}").strip()
    return int(json.loads((engine.containers / ident / "state.json").read_text())["pid"])


def test_it_is_in_the_container(web: Engine) -> None:
    web("exec", "web", "sh", "-c", "echo x >/made; hostname")

    assert web("exec", "web", "cat", "/made") == "x\n"
    processes = web("exec", "web", "ps", "-o", "pid,args").splitlines()
    assert any(line.split()[:3] == ["1", "sh", "-c"] for line in processes)
    assert web("exec", "web", "hostname").strip() == web("ps", "-q").strip()


def test_its_namespaces_are_the_first_process_s(web: Engine) -> None:
    paths = [f"ns/{kind}" for kind in ("user", "mnt", "uts", "ipc", "pid", "net", "cgroup")]
    line = "; ".join(f"readlink /proc/self/{path}" for path in paths)
    first = first_pid(web, "web")

    found = web("exec", "web", "sh", "-c", line).splitlines()

    assert found == [os.readlink(f"/proc/{first}/{path}") for path in paths]


@AS_ROOT
def test_output_and_exit_code_are_its_own(web: Engine) -> None:
    done = web.attempt("exec", "web", "sh", "-c", "echo out; echo err >&2; exit 3")

    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


@AS_ROOT
@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["web", "nosuch"], 127, "nosuch: No such file or directory"),
        (["web", "/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["-u", "nosuch", "web", "id"], 126, "user nosuch: not in the image's /etc/passwd"),
        (["-w", "/nosuch", "web", "id"], 126, "/nosuch: No such file or directory"),
        (["nosuch", "id"], 1, "nosuch: no such container"),
        (["web"], 1, "Missing argument"),
    ],
)
def test_what_cannot_be_run(web: Engine, words: list[str], code: int, reason: str) -> None:
    found, said = web.refusal("exec", *words)

    assert found == code
    assert said.startswith(reason)


@AS_ROOT
def test_after_a_signal(web: Engine) -> None:
    assert web.attempt("exec", "web", "sh", "-c", "kill -9 $$").returncode == 137


def test_environment_directory_and_user(web: Engine) -> None:
    shown = web("exec", "-e", "MORE=2", "-e", "TMPDIR", "web", "sh", "-c", "env; pwd; umask")
    lines = shown.splitlines()

    assert {"OWN=1", "MORE=2", f"TMPDIR={web.directory}/tmp", "HOME=/root"} <= set(lines)
    assert not any(line.startswith(("XDG_DATA_HOME", "TERM")) for line in lines)
    assert lines[-2:] == ["/srv", "0022"]
    assert web("exec", "-w", "/etc", "web", "pwd") == "/etc\n"


@AS_ROOT
def test_a_file_of_variables(web: Engine) -> None:
    path = web.directory / "tmp/variables"
    path.write_text("# none\nA=from file\nOWN=other\n")

    assert web("exec", "--env-file", path, "web", "sh", "-c", "echo $A $OWN") == "from file other\n"
    path.unlink()


def test_another_user(web: Engine) -> None:
    done = web.attempt("exec", "-u", "web", "web", "id")
    if web.is_user and done.returncode:  # without subordinate ids there is one id
        assert done.returncode == 126
        return
    assert done.stdout == "uid=33(web) gid=33(web) groups=6(disk),33(web)\n"


def test_nothing_of_the_caller_is_open(web: Engine) -> None:
    with open("/etc/hostname") as held:
        done = subprocess.run(
            web.argv("exec", "web", "sh", "-c", "echo /proc/$$/fd/*"),
            env=web.environment,
            pass_fds=[held.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )

    numbers = {int(word.rpartition("/")[2]) for word in done.stdout.split()}
    assert numbers <= {0, 1, 2, 3}  # 3: the listing's own


def test_capabilities_are_the_containers_unless_privileged(web: Engine) -> None:
    def effective(*options: str, of: str = "self") -> int:
        words = (
            "exec",
            *options,
            "web",
            "sh",
            "-c",
            f"while read a b; do echo $a $b; done </proc/{of}/status",
        )
        rows = dict(line.split(maxsplit=1) for line in web(*words).splitlines() if " " in line)
        return int(rows["CapEff:"], 16)

    own = effective(of="1")
    assert effective() == own
    assert effective("--privileged") & ~own


@AS_ROOT
def test_stdin_goes_in_with_i_alone(web: Engine) -> None:
    typed = "x" * 100_000 + "\n"

    assert web.attempt("exec", "-i", "web", "wc", "-c", typed=typed).stdout.strip() == "100001"
    assert web.attempt("exec", "web", "wc", "-c", typed=typed).stdout.strip() == "0"


@AS_ROOT
def test_signals_are_passed_on(web: Engine) -> None:
    script = "trap 'echo ended; exit 5' TERM; echo on; while :; do sleep 0.05; done"
    with subprocess.Popen(
        web.argv("exec", "web", "sh", "-c", script),
        env=web.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "ended\n"

    assert process.returncode == 5


def test_a_terminal_of_the_containers_own(web: Engine) -> None:
    argv = web.argv("exec", "-it", "web", "sh", "-c", "tty; stty size; echo $TERM; read x; exit 7")
    pid, master = pty.fork()
    if not pid:
        try:
            os.execvpe(argv[0], argv, {**os.environ, **web.environment})
        finally:
            os._exit(1)
    shown = b""
    while b"xterm" not in shown:
        shown += os.read(master, 1000)
    os.write(master, b"hello\r")
    _, status = os.waitpid(pid, 0)
    os.close(master)

    assert b"/dev/pts/0" in shown
    assert os.waitstatus_to_exitcode(status) == 7


@AS_ROOT
def test_keys_that_detach(web: Engine) -> None:
    """Typed one by one; the command goes on."""
    script = "tty; while read x; do echo got $x > /tmp/got; done"
    argv = web.argv("exec", "-it", "--detach-keys", "ctrl-x,y", "web", "sh", "-c", script)
    pid, master = pty.fork()
    if not pid:
        try:
            os.execvpe(argv[0], argv, {**os.environ, **web.environment})
        finally:
            os._exit(1)
    while b"/dev/pts/0" not in os.read(master, 1000):
        continue
    os.write(master, b"line\r\x18")
    wait_until(lambda: web.attempt("exec", "web", "cat", "/tmp/got").stdout == "got line\n", "it")
    os.write(master, b"y")
    _, status = os.waitpid(pid, 0)
    os.close(master)

    assert os.waitstatus_to_exitcode(status) == 0
    assert "while read x" in web("top", "web")
    assert web.refusal("exec", "--detach-keys", "pq", "web", "true")[0] == 1


@AS_ROOT
def test_a_terminal_is_needed_for_it(web: Engine) -> None:
    assert web.refusal("exec", "-it", "web", "true") == (1, "-t: the input device is not a TTY")


def test_detached(web: Engine) -> None:
    assert web("exec", "-d", "web", "sh", "-c", f"echo x >/made; sleep 6{os.getpid()}") == ""

    wait_until(lambda: "x" in web.attempt("exec", "web", "cat", "/made").stdout, "its file")
    assert processes_naming(f"6{os.getpid()}")
    assert web.refusal("exec", "-d", "web", "nosuch")[0] == 127


def test_it_ends_with_the_container(web: Engine) -> None:
    with subprocess.Popen(
        web.argv("exec", "web", "sh", "-c", f"echo on; sleep 7{os.getpid()}"),
        env=web.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        web("kill", "web")
        process.wait(timeout=20)

    assert process.returncode == 137
    assert web.refusal("exec", "web", "true") == (1, "web: the container is not running")


def test_the_container_ends_while_commands_that_nobody_waits_for_run(web: Engine) -> None:
    web("exec", "-d", "web", "sleep", f"8{os.getpid()}")
    with subprocess.Popen(
        web.argv("exec", "web", "sleep", f"8{os.getpid()}"), env=web.environment
    ) as process:
        wait_until(lambda: len(processes_naming(f"8{os.getpid()}")) >= 3, "both commands")
        process.kill()

    assert web("stop", "-t", "5", "web") == "web\n"
    wait_until(lambda: not processes_naming(f"8{os.getpid()}"), "their end")


@AS_ROOT
def test_one_that_was_never_started(engine: Engine) -> None:
    engine("create", "--name", "one", "small:1")

    assert engine.refusal("exec", "one", "true") == (1, "one: the container is not running")


def test_a_pid_that_is_another_processs_is_not_entered(web: Engine) -> None:
    ident = web("ps", "-q", "--no-trunc").strip()
    path = web.containers / ident / "state.json"
    known = json.loads(path.read_text())
    with subprocess.Popen(["sleep", "1000"]) as other:
        path.write_text(json.dumps({**known, "pid": other.pid}))
        refused = web.refusal("exec", "web", "true")
        other.kill()
    path.write_text(json.dumps(known))

    assert refused == (1, "web: the container is not running")
    assert web("exec", "web", "echo", "x") == "x\n"


def test_links_in_place_of_system_directories_lead_nowhere(
    engine: Engine, small_root: Path, tmp_path: Path
) -> None:
    """CVE-2026-47766, CVE-2026-41579: the command meets the container's own, or none."""
    run(["cp", "-a", small_root, tmp_path / "root"])
    for name in ("dev", "proc", "sys"):
        target = tmp_path / "root" / name
        if target.exists():
            run(["rm", "-r", target])
        target.symlink_to(engine.directory)
    archive = engine.directory / "tmp/links.tar"
    run(["tar", "-C", tmp_path / "root", "-cf", archive, "."])
    engine("import", archive, "links:1")
    archive.unlink()

    before = sorted(os.listdir(engine.directory))
    code, said = engine.refusal("run", "-d", "--name", "one", "links:1", "sh", "-c", IDLE)
    assert code == 125
    assert "cannot be set up in the container" in said
    assert sorted(os.listdir(engine.directory)) == before
    engine("rm", "-f", "one")
    engine("rmi", "links:1")


@pytest.mark.parametrize(
    "place", ["/proc/1/root/../../..", "/proc/self/fd/7/../..", "/link/../../.."]
)
def test_a_directory_that_would_lead_out(web: Engine, place: str) -> None:
    web("exec", "web", "ln", "-s", "/proc/self/cwd/../../../..", "/link")

    done = web.attempt("exec", "-w", place, "web", "ls", "/")

    assert done.returncode in (0, 126)
    assert (
        str(web.directory).split("/")[2]
        not in web.attempt("exec", "-w", place, "web", "ls", "tmp").stdout
    )


def test_user_tables_that_are_traps(web: Engine) -> None:
    web(
        "exec",
        "web",
        "sh",
        "-c",
        "rm /etc/passwd /etc/group; ln -s /dev/tty /etc/passwd; ln -s /dev/zero /etc/group",
    )

    assert web("exec", "-u", "0", "web", "id", "-u") == "0\n"
    assert web.refusal("exec", "-u", "web", "web", "id")[0] == 126


def test_what_it_leaves_behind_runs_on_and_is_not_waited_for(web: Engine) -> None:
    assert web("exec", "web", "sh", "-c", f"sleep 9{os.getpid()} & echo on") == "on\n"

    assert processes_naming(f"9{os.getpid()}")


def test_what_it_was_before_cannot_be_looked_into(engine: Engine) -> None:
    """CVE-2019-5736: inside, the program that enters is in sight for a moment."""
    watching = """
        echo ready
        while [ ! -e /stop ]; do
            for p in /proc/[2-9] /proc/[1-9][0-9]*; do
                readlink $p/exe; readlink $p/root; readlink $p/fd/3
            done
        done 2>/dev/null | grep -E 'python|socket|^/proc' ; echo over
    """
    start(engine, "web", script=watching)
    for _ in range(10):
        engine("exec", "web", "true")
    engine("exec", "web", "touch", "/stop")

    assert engine("wait", "web") == "0\n"
    assert "python" not in engine("logs", "web")
