"""A container's own cgroup: made where a limit is asked for, entered, read, and removed.

Plan: its directories, one in a hierarchy of version 2 and one for each controller in those of
version 1, stand in a file beside the container's record before they are made. So whatever is
killed, the next command that looks at the container finds and removes them. Only the processes of
the container are in it: not the monitor, nor the daemon of the filesystem.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.containers.cgroup_limits import Limits

FILE = "cgroup"
_ROOT = Path("/sys/fs/cgroup")
_OURS = "overlayfs-py"
_PROCESSES = "cgroup.procs"
_ENABLED = "cgroup.subtree_control"
_LAST_PROCESSES_S = 10.0  # that the kernel takes to end what was killed
_STEP_S = 0.01
_SYSTEMD = "systemd-run --user --scope overlayfs-py run ..."


def make(directory: Path, ident: str, limits: Limits) -> tuple[Path, ...]:
    """Make the cgroup of the container `ident` in `directory`; returns its directories.

    Raises:
        Failure: this user, or this machine, has none to give.
    """
    if not limits.options:
        return ()
    remove(directory)
    unified = (_ROOT / "cgroup.controllers").exists()
    try:
        found = _delegated(limits) if unified else _by_controller(limits)
        own = tuple(dict.fromkeys(parent / _OURS / ident for parent in found.values()))
        (directory / FILE).write_text("".join(f"{path}\n" for path in own))
        for path in own:
            path.mkdir(parents=True)
        if unified:
            _enable(own[0].parent, limits.options)
        for setting in limits.settings(unified=unified):
            file = found[setting.controller] / _OURS / ident / setting.file
            if file.exists() or not setting.is_optional:
                file.write_text(setting.value)
    except OSError as error:
        remove(directory)
        if isinstance(error, Failure):
            raise
        raise _refusal(limits, error) from error
    return own


def name_of(ident: str) -> str:
    """What the cgroup of a container is called in each hierarchy."""
    return f"/{_OURS}/{ident}"


def note(directory: Path, ident: str) -> None:
    """Note that the container `ident` in `directory` may have a cgroup in any hierarchy.

    For an OCI runtime, which makes them by itself.
    """
    roots = [_ROOT, *sorted(path for path in _ROOT.iterdir() if path.is_dir())]
    own = [root / _OURS / ident for root in roots if (root / _PROCESSES).exists()]
    paths = dict.fromkeys((*of(directory), *own))
    (directory / FILE).write_text("".join(f"{path}\n" for path in paths))


def of(directory: Path) -> tuple[Path, ...]:
    """The directories of the cgroup of the container in `directory`; none where it has none."""
    try:
        return tuple(map(Path, (directory / FILE).read_text().splitlines()))
    except FileNotFoundError:
        return ()


def enter(paths: Iterable[Path]) -> None:
    """Put this process, and so its later children, into a cgroup.

    In a hierarchy in which there is none, it stays where it is.

    Raises:
        Failure: it is out of this process's reach.
    """
    for path in paths:
        try:
            (path / _PROCESSES).write_text("0")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Failure(
                f"the container's cgroup cannot be entered from here: {error.strerror}"
            ) from error


def remove(directory: Path) -> None:
    """Remove the cgroup of the container in `directory`, with whatever still runs in it."""
    paths = of(directory)
    deadline = time.monotonic() + _LAST_PROCESSES_S
    for path in paths:
        while not _is_removed(path) and time.monotonic() < deadline:
            _kill(path)
            time.sleep(_STEP_S)
        with suppress(OSError):  # other containers'
            path.parent.rmdir()
    if paths:
        (directory / FILE).unlink(missing_ok=True)


def out_of_memory_kills(paths: Iterable[Path]) -> int:
    """How often the kernel has killed a process there for want of memory."""
    for path in paths:
        for name in ("memory.events", "memory.oom_control"):
            found = _numbers(path / name)
            if "oom_kill" in found:
                return found["oom_kill"]
    return 0


def memory_bytes(paths: Iterable[Path]) -> int | None:
    """What is used without what can be dropped, as docker has it; None where nobody counts."""
    for path in paths:
        for current, dropped in (
            ("memory.current", "inactive_file"),
            ("memory.usage_in_bytes", "total_inactive_file"),
        ):
            with suppress(FileNotFoundError):
                used = int((path / current).read_text())
                return max(0, used - _numbers(path / "memory.stat").get(dropped, 0))
    return None


def _is_removed(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def _kill(path: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        for pid in map(int, (path / _PROCESSES).read_text().split()):
            os.kill(pid, signal.SIGKILL)


def _delegated(limits: Limits) -> dict[str, Path]:
    """Where cgroups of version 2 may be made: as far up from this process's own as allowed."""
    (line,) = (
        text for text in Path("/proc/self/cgroup").read_text().splitlines() if text[:3] == "0::"
    )
    own = _ROOT / line[3:].lstrip("/")
    able = [path for path in (own, *own.parents) if _is_ours(path)]
    if not able:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _enable(able[-1], limits.options)
    return dict.fromkeys(limits.options, able[-1])


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_ROOT) and all(
        os.access(path / name, os.W_OK) for name in (".", _PROCESSES, _ENABLED)
    )


def _enable(path: Path, controllers: Iterable[str]) -> None:
    """Let the cgroups below have controllers."""
    missing = set(controllers) - set((path / _ENABLED).read_text().split())
    if missing:
        (path / _ENABLED).write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _by_controller(limits: Limits) -> dict[str, Path]:
    """Where cgroups of version 1 may be made."""
    found = {controller: _ROOT / controller for controller in limits.options}
    for path in found.values():
        if not os.access(path, os.W_OK):
            number = errno.EACCES if path.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number))
    return found


def _refusal(limits: Limits, error: OSError) -> Failure:
    options = ", ".join(limits.options.values())
    if error.errno in (errno.ENOENT, errno.EROFS):
        why = f"this machine shows no cgroups of {', '.join(limits.options)} that can be written"
    elif error.errno == errno.EBUSY:
        why = f"the cgroup of this process has processes of its own: `{_SYSTEMD}` has another"
    else:
        why = f"this user may not make cgroups here: as root, or where systemd is: `{_SYSTEMD}`"
    return Failure(f"{options}: {why}")


def _numbers(file: Path) -> dict[str, int]:
    """A file of lines of a name and a number."""
    try:
        rows = (line.split() for line in file.read_text().splitlines())
    except FileNotFoundError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
