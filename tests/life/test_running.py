"""`run`, and what the command finds."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.life.users import AS_ROOT

if TYPE_CHECKING:
    from tests.life.conftest import Engine


def test_a_command_runs_and_its_exit_code_is_ours(engine: Engine) -> None:
    done = engine.attempt("run", "--rm", "small:1", "sh", "-c", "echo out; echo err >&2; exit 3")

    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert engine("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["nosuch"], 127, "nosuch: No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["sh", "-c", "kill -9 $$"], 137, None),
    ],
)
def test_exit_codes_are_dockers(
    engine: Engine, words: list[str], code: int, reason: str | None
) -> None:
    done = engine.attempt("run", "--rm", "--init", "small:1", *words)

    assert done.returncode == code
    assert done.stderr == ("" if reason is None else f"overlayfs-py: {reason}\n")
    assert engine("ps", "-aq") == ""


@AS_ROOT
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run", "--pull=never", "nosuch:1"], "nosuch:1: no such image"),
        (["run", "-u", "nosuch", "small:1"], "user nosuch: not in the image's /etc/passwd"),
        (["run", "-w", "/etc/passwd/x", "small:1"], "/etc/passwd/x: Not a directory"),
        (["run", "--name", "-x", "small:1"], "-x: a name is"),
        (["run", "--entrypoint", "", "small:1"], "small:1: no command"),
    ],
)
def test_what_cannot_be_started_ends_with_125(
    engine: Engine, words: list[str], reason: str
) -> None:
    code, said = engine.refusal(*words)

    assert code == 125
    assert said.startswith(reason)


def test_the_command_is_the_first_process_unless_init_is_asked_for(engine: Engine) -> None:
    assert engine("run", "--rm", "small:1", "sh", "-c", "echo $$") == "1\n"
    assert engine("run", "--rm", "--init", "small:1", "sh", "-c", "echo $$") == "2\n"


@AS_ROOT
def test_a_container_is_called_by_its_id_inside(engine: Engine) -> None:
    ident = engine("run", "--name", "one", "small:1", "hostname").strip()

    assert engine("ps", "-aq") == f"{ident}\n"
    assert engine("run", "--rm", "--hostname", "web.local", "small:1", "hostname") == "web.local\n"


def test_environment_user_and_directory(engine: Engine) -> None:
    shown = engine(
        *("run", "--rm", "-e", "A=1", "-e", "TMPDIR", "-w", "/made/here", "small:1"),
        *("sh", "-c", "env; pwd; id -u"),
    ).splitlines()

    assert {"A=1", f"TMPDIR={engine.directory}/tmp", "HOME=/root"} <= set(shown)
    assert shown[-2:] == ["/made/here", "0"]
    assert not any(line.startswith("XDG_DATA_HOME") for line in shown)


@AS_ROOT
def test_an_option_that_is_not_offered_is_refused_by_name(engine: Engine) -> None:
    code, said = engine.refusal("run", "--gpus", "all", "small:1")

    assert code == 125
    assert "--gpus" in said


@AS_ROOT
def test_words_after_the_image_are_the_commands(engine: Engine) -> None:
    assert engine("run", "--rm", "small:1", "printf", "%s.", "--rm", "-it", "--") == "--rm.-it.--."


@AS_ROOT
def test_stdin_goes_in_with_i_alone(engine: Engine) -> None:
    typed = "x" * 100_000 + "\n"

    assert engine.attempt(
        "run", "--rm", "-i", "small:1", "wc", "-c", typed=typed
    ).stdout.strip() == ("100001")
    assert engine.attempt("run", "--rm", "small:1", "wc", "-c", typed=typed).stdout.strip() == "0"


@AS_ROOT
def test_all_output_comes_however_slow_its_reader_is(engine: Engine) -> None:
    with subprocess.Popen(
        engine.argv("run", "--rm", "small:1", "seq", "300000"),
        env=engine.environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == b"1\n"
        rest = process.stdout.read()

    assert rest.count(b"\n") == 299_999
    assert rest.endswith(b"300000\n")
    assert process.returncode == 0


def test_a_terminal_is_the_commands_own(engine: Engine) -> None:
    argv = engine.argv("run", "--rm", "-it", "small:1", "sh", "-c", "tty; read x; echo got $x")
    pid, master = pty.fork()
    if not pid:
        try:
            os.execvpe(argv[0], argv, {**os.environ, **engine.environment})
        finally:
            os._exit(1)
    shown = b""
    while b"/dev/pts/0" not in shown:
        shown += os.read(master, 1000)
    os.write(master, b"hello\r")
    while b"got hello" not in shown:
        shown += os.read(master, 1000)
    _, status = os.waitpid(pid, 0)
    os.close(master)

    assert os.waitstatus_to_exitcode(status) == 0


@AS_ROOT
def test_a_terminal_is_needed_for_it(engine: Engine) -> None:
    code, said = engine.refusal("run", "--rm", "-it", "small:1", "true")

    assert (code, said) == (1, "-t: the input device is not a TTY")
    engine("rm", *engine("ps", "-aq").split())


def test_detached_prints_the_id_and_keeps_nothing_of_the_caller(engine: Engine) -> None:
    done = subprocess.run(
        engine.argv("run", "-d", "--name", "web", "small:1", "sh", "-c", "echo on; sleep 1000"),
        env=engine.environment,
        capture_output=True,  # ends with the last process that has the pipes
        text=True,
        timeout=30,
    )

    assert engine("ps", "-q", "--no-trunc") == done.stdout
    assert done.stderr == ""


@AS_ROOT
def test_the_id_is_written_to_a_file_that_is_not_there_yet(engine: Engine) -> None:
    path = engine.directory / "tmp/id"

    engine("create", "--cidfile", path, "--name", "one", "small:1")

    assert engine("ps", "-aq", "--no-trunc").strip() == path.read_text()
    code, said = engine.refusal("create", "--cidfile", path, "small:1")
    assert (code, said) == (125, f"{path}: File exists")
    assert len(engine("ps", "-aq").split()) == 1
    path.unlink()


def test_changes_are_gone_with_the_container_and_two_do_not_see_each_other(engine: Engine) -> None:
    engine("run", "-d", "--name", "one", "small:1", "sh", "-c", "echo 1 >/etc/mine; sleep 1000")
    engine("run", "-d", "--name", "two", "small:1", "sh", "-c", "echo 2 >/etc/mine; sleep 1000")

    assert "mine" not in engine("run", "--rm", "small:1", "ls", "/etc").split()


def test_what_it_wrote_is_there_when_it_is_started_again(engine: Engine) -> None:
    engine("run", "--name", "one", "small:1", "sh", "-c", "echo x >>/count; cat /count")

    assert engine("start", "-a", "one") == "x\nx\n"
    assert engine("logs", "one") == "x\nx\nx\n"


def test_read_only(engine: Engine) -> None:
    done = engine.attempt(
        *("run", "--rm", "--read-only", "--tmpfs", "/tmp", "small:1"),
        *("sh", "-c", "touch /tmp/x && touch /x"),
    )

    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("word", ["-v", "--mount"])
def test_volumes_stay(engine: Engine, word: str) -> None:
    value = "data:/data" if word == "-v" else "type=volume,src=data,dst=/data"

    engine("run", "--rm", word, value, "small:1", "sh", "-c", "echo kept >/data/file")

    assert engine("run", "--rm", word, value, "small:1", "cat", "/data/file") == "kept\n"
    read_only = f"{value}:ro" if word == "-v" else f"{value},readonly"
    assert (
        "Read-only"
        in engine.attempt("run", "--rm", word, read_only, "small:1", "touch", "/data/x").stderr
    )


def test_a_directory_of_the_host(engine: Engine) -> None:
    shared = engine.directory / "tmp/shared"
    shared.mkdir()
    if engine.is_user:
        shutil.chown(shared, "nobody", "nogroup")

    engine("run", "--rm", "-v", f"{shared}:/src", "small:1", "sh", "-c", "echo x >/src/file")

    assert (shared / "file").read_text() == "x\n"
    (shared / "file").unlink()
    shared.rmdir()
