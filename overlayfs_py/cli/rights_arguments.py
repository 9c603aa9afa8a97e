"""Options of `run` and `create` on what a container may do and use."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError, parse_size
from overlayfs_py.containers.cgroup_limits import UNLIMITED
from overlayfs_py.errors import Failure
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECURITY = late_pattern(r"([a-z-]+)(?:[=:](.*))?", re.DOTALL)
_SECURITY_WORDS = (
    "no-new-privileges[=BOOL], seccomp=unconfined|builtin|FILE, apparmor=unconfined, label=disable"
)
_LEAST_MEMORY = 6 << 20  # docker's
_LEAST_NANO_CPUS = 10**7
_CPUS = late_pattern(r"[0-9]{1,6}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")


def capabilities(option: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of capabilities as records have them."""
    from overlayfs_py.containers.capabilities import normal_name

    try:
        return tuple(map(normal_name, names))
    except ValueError as error:
        raise OptionError(option, str(error)) from None


class Security(NamedTuple):
    """What `--security-opt` says."""

    new_privileges: bool = False  # whether set-user-ID programs give rights
    seccomp: str = ""  # as records have it


def security(texts: Sequence[str]) -> Security:
    """Return what the words of `--security-opt` mean; the last of a kind counts."""
    found = Security()
    for text in texts:
        form = _SECURITY.fullmatch(text)
        match (form[1], form[2]) if form is not None else (text, None):
            case ("no-new-privileges", None | "true" | "false" as value):
                found = found._replace(new_privileges=value == "false")
            case ("seccomp", str(value)) if value:
                found = found._replace(seccomp=_seccomp(value))
            case ("apparmor", "unconfined") | ("label", "disable"):
                continue  # as they are
            case ("apparmor" | "label", _):
                why = "neither AppArmor's profiles nor SELinux's labels are set here"
                raise OptionError("--security-opt", f"{text}: {why}")
            case _:
                raise OptionError("--security-opt", f"{text}: none of {_SECURITY_WORDS}")
    return found


def _seccomp(value: str) -> str:
    if value == "unconfined":
        return value
    if value == "builtin":
        return ""
    from overlayfs_py.containers import seccomp_file, seccomp_profile

    if not seccomp_profile.is_known_here():
        raise OptionError(
            "--security-opt", f"seccomp={value}: only x86_64 and aarch64 have filters"
        )
    raw = Path(value).read_bytes()
    try:
        text = raw.decode()
        seccomp_file.parse(text, ())
    except ValueError as error:
        raise OptionError("--security-opt", f"seccomp={value}: {error}") from None
    return text


def limits(texts: Sequence[str]) -> tuple[str, ...]:
    """Limits of setrlimit(2); the last of a name counts."""
    from overlayfs_py.containers.rights import Limit

    try:
        return tuple({Limit.parse(text).name: text for text in texts}.values())
    except ValueError as error:
        raise OptionError("--ulimit", str(error)) from None


def size_bytes(option: str, text: str) -> int:
    """A number of bytes."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise OptionError(option, str(error)) from None


def memory_bytes(text: str | None) -> int:
    """What `--memory` allows; 0: as much as there is."""
    size = 0 if text in {None, "0"} else size_bytes("--memory", text or "")
    if 0 < size < _LEAST_MEMORY:
        raise OptionError("--memory", f"{text}: at least 6m")
    return size


def memory_swap_bytes(text: str | None, memory: int) -> int:
    """What `--memory-swap` allows of memory and swap; 0: as docker."""
    if text in {None, "0"}:
        return 0
    if not memory:
        raise OptionError("--memory-swap", "has no meaning without --memory")
    size = UNLIMITED if text == "-1" else size_bytes("--memory-swap", text or "")
    if 0 < size < memory:
        raise OptionError("--memory-swap", f"{text}: less than --memory, which it includes")
    return size


def nano_cpus(text: str | None) -> int:
    """What `--cpus` allows of a second, in nanoseconds; 0: as much as there is."""
    if text is None:
        return 0
    found = _CPUS.fullmatch(text)
    nano = 0 if found is None else int(float(text) * 10**9)
    most = os.cpu_count() or 1
    if found is None or (nano and not _LEAST_NANO_CPUS <= nano <= most * 10**9):
        raise OptionError("--cpus", f"{text}: not a number from 0.01 to {most}")
    return nano


def runtime(text: str | None) -> str:
    """An OCI runtime's name or path; empty: the embedded way."""
    if text in {None, "", "embedded"}:
        return ""
    from overlayfs_py.containers import oci_runtime

    try:
        oci_runtime.find(text or "")
    except Failure as failure:
        raise OptionError("--runtime", str(failure).removeprefix("--runtime ")) from None
    return text or ""


def most_pids(value: int | None) -> int:
    """What `--pids-limit` allows; 0: as many as there are."""
    return max(value or 0, 0)
