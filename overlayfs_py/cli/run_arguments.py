"""What a command in a container is started with: of the command line, and of an image's config."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from overlayfs_py.backends.mount_options import OptionError
from overlayfs_py.containers.process import Process
from overlayfs_py.containers.working_directory import WorkingDirectory
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from overlayfs_py.cli.base_stack import BaseStack

CANNOT_START = 125  # what failed is ours, not the command: as GNU chroot and docker have it
_DEFAULT_COMMAND = ("/bin/sh",)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")


def process_of(
    base: BaseStack,
    words: Sequence[str],
    environment: dict[bytes, bytes],
    *,
    directory: str | None,
    user: str | None,
    entrypoint: str | None,
) -> Process:
    """Return what to run; the command line outdoes the image.

    Raises:
        Failure: the image, or the command line, holds what no program can be given.
    """
    command = _command(base, words, entrypoint)
    run = base.run
    if directory is not None:
        place = WorkingDirectory(_without_nul("-w", directory))
    elif run is not None and run.working_dir:
        place = WorkingDirectory(_images(base, "working directory", run.working_dir), is_made=True)
    else:
        place = WorkingDirectory(b"/")
    if user is None and run is not None and run.user:
        wanted = os.fsdecode(_images(base, "user", run.user))
        return Process(command, environment, place, wanted, user_is_wish=True)
    return Process(command, environment, place, user or "")


def _command(base: BaseStack, words: Sequence[str], entrypoint: str | None) -> tuple[bytes, ...]:
    """The entrypoint and its arguments, as docker puts them together; `[""]` is no entrypoint."""
    run = base.run
    given = tuple(_without_nul("CMD", word) for word in words)
    if entrypoint is not None:
        return ((_without_nul("--entrypoint", entrypoint),) if entrypoint else ()) + given or tuple(
            map(os.fsencode, _DEFAULT_COMMAND)
        )
    begin = tuple(_images(base, "entrypoint", word) for word in (run and run.entrypoint) or ())
    begin = () if begin == (b"",) else begin
    rest = given or tuple(_images(base, "command", word) for word in (run and run.cmd) or ())
    return (*begin, *rest) or tuple(map(os.fsencode, _DEFAULT_COMMAND))


def environment_of(
    base: BaseStack, files: Sequence[Path], variables: Sequence[str]
) -> dict[bytes, bytes]:
    """Return the command's whole environment: the host's means nothing in there.

    Raises:
        OptionError: a variable has no name.
        Failure: the image's, or a file's, hold a NUL.
        OSError: a file cannot be read.
    """
    found = {b"PATH": os.fsencode(_PATH)}
    if "TERM" in os.environ:
        found[b"TERM"] = os.fsencode(os.environ["TERM"])
    for entry in (base.run and base.run.env) or ():
        name, equals, value = _images(base, "environment", entry).partition(b"=")
        if name and equals:  # docker and containerd leave others out
            found[name] = value
    given = [("--env-file", line) for file in files for line in _lines(file)]
    given += [("-e", variable) for variable in variables]
    for option, variable in given:
        _set(found, option, variable)
    return found


def _set(environment: dict[bytes, bytes], option: str, variable: str) -> None:
    """Set `K=V`; a name alone takes the caller's value, and takes it away where he has none."""
    name, equals, value = variable.partition("=")
    if not name:
        raise OptionError(option, f"{variable}: not of the form K=V or K")
    if equals:
        environment[_without_nul(option, name)] = _without_nul(option, value)
    elif name in os.environ:
        environment[os.fsencode(name)] = os.fsencode(os.environ[name])
    else:
        environment.pop(os.fsencode(name), None)


def _lines(file: Path) -> Iterator[str]:
    """The variables of a file as docker takes them: a line each, # at its beginning comments."""
    for line in file.read_text(errors="surrogateescape").removeprefix("\ufeff").splitlines():
        text = line.lstrip()
        if text and not text.startswith("#"):
            yield text


def hostname_of(text: str | None, default: str) -> str:
    """Return a container's host name.

    Raises:
        OptionError: it cannot be one.
    """
    if text is not None and _HOSTNAME.fullmatch(text) is None:
        raise OptionError("--hostname", f"{text!r}: 1 to 64 letters, digits, dots and dashes")
    return text or default


def _without_nul(what: str, text: str) -> bytes:
    if "\0" in text:
        raise OptionError(what, f"{text!r} holds a NUL character")
    return os.fsencode(text)


def _images(base: BaseStack, what: str, text: str) -> bytes:
    if "\0" in text:
        raise Failure(f"{base.image}: the image's {what} holds a NUL character", CANNOT_START)
    # Half of a surrogate pair is what JSON can say and no text holds: Go takes it for this too.
    return os.fsencode(_LONE_SURROGATE.sub("\ufffd", text))
