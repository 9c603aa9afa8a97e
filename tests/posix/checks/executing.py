"""execve(2) of scripts and binaries, and what it does to writers."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened
from tests.posix.expecting import refused
from tests.posix.prepared import SCRIPT
from tests.posix.processes import ALICE, as_user
from tests.posix.registry import check
from tests.support.trees import File

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLEEP = {"program": File(Path("/bin/sleep").resolve().read_bytes(), mode=0o755)}


def _output(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


@contextmanager
def _running(program: Path) -> Iterator[None]:
    # Popen returns once exec succeeded: from then on the program is in use.
    with subprocess.Popen([program, "1000"]) as process:
        try:
            yield
        finally:
            process.kill()


@check()
def a_script_runs(root: Path) -> None:
    assert _output(root / "script") == b"ran\n"


@check()
def a_new_script_runs(root: Path) -> None:
    create(root / "dir/new", SCRIPT, 0o755)
    assert _output(root / "dir/new") == b"ran\n"


@check()
def a_changed_script_runs_as_changed(root: Path) -> None:
    assert _output(root / "script") == b"ran\n"
    with opened(root / "script", os.O_WRONLY | os.O_APPEND) as descriptor:
        os.write(descriptor, b"echo again\n")
    assert _output(root / "script") == b"ran\nagain\n"


@check()
def a_copied_binary_runs(root: Path) -> None:
    shutil.copy("/bin/echo", root / "new")
    assert _output(root / "new", "hello") == b"hello\n"


@check(extra=_SLEEP)
def a_prepared_binary_runs(root: Path) -> None:
    assert _output(root / "program", "0") == b""
    os.rename(root / "program", root / "moved")
    assert _output(root / "moved", "0") == b""


@check()
def a_moved_interpreter_runs_its_script(root: Path) -> None:
    shutil.copy("/bin/dash", root / "shell")
    os.rename(root / "shell", root / "dir/shell")
    create(root / "new", b"#!%s/dir/shell\necho by our own shell\n" % os.fsencode(root), 0o755)
    # execve(2) takes 255 bytes of the first line.
    assert len(f"#!{root}/dir/shell") < 255
    assert _output(root / "new") == b"by our own shell\n"


@check()
def what_is_not_executable_does_not_run(root: Path) -> None:
    for name in ("file", "dir", "fifo"):
        with refused(errno.EACCES):
            os.execv(root / name, ["x"])
    os.chmod(root / "script", 0o644)
    with refused(errno.EACCES):
        os.execv(root / "script", ["x"])


@check()
def a_text_without_an_interpreter_is_no_program(root: Path) -> None:
    os.chmod(root / "file", 0o755)
    with refused(errno.ENOEXEC):
        os.execv(root / "file", ["x"])
    create(root / "lost", b"#!/no/such/interpreter\n", 0o755)
    with refused(errno.ENOENT):
        os.execv(root / "lost", ["x"])


@check()
def a_running_new_program_is_not_written(root: Path) -> None:
    create(root / "new", _SLEEP["program"].data, 0o755)
    with _running(root / "new"):
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            with refused(errno.ETXTBSY), opened(root / "new", flags):
                pass


@check(extra=_SLEEP)
def a_running_program_is_not_written(root: Path) -> None:
    with (
        _running(root / "program"),
        refused(errno.ETXTBSY),
        opened(root / "program", os.O_WRONLY),
    ):
        pass


@check(extra=_SLEEP)
def a_running_program_is_not_truncated(root: Path) -> None:
    with _running(root / "program"), refused(errno.ETXTBSY):
        os.truncate(root / "program", 0)


@check(extra=_SLEEP)
def a_running_program_is_replaced_and_removed(root: Path) -> None:
    with _running(root / "program"):
        create(root / "new", SCRIPT, 0o755)
        os.rename(root / "new", root / "program")
        assert _output(root / "program") == b"ran\n"
        os.unlink(root / "program")


@check(extra=_SLEEP)
def a_program_that_is_being_written_does_not_run(root: Path) -> None:
    with opened(root / "program", os.O_WRONLY), refused(errno.ETXTBSY):
        os.execv(root / "program", ["program", "0"])


@check()
def a_set_user_id_program_runs_as_its_owner(root: Path) -> None:
    shutil.copy("/usr/bin/id", root / "new")
    os.chmod(root / "new", 0o4755)
    assert as_user(lambda: _output(root / "new", "-u"), ALICE) == b"0\n"
    assert as_user(lambda: _output(root / "new", "-ru"), ALICE) == b"%d\n" % ALICE


@check()
def a_program_without_read_permission_runs(root: Path) -> None:
    shutil.copy("/bin/echo", root / "new")
    os.chmod(root / "new", 0o711)
    assert as_user(lambda: _output(root / "new", "hello"), ALICE) == b"hello\n"
