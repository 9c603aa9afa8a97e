"""RUN: its command, mounts and network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.dockerfile.errors import ExpansionError, did_you_mean
from overlayfs_py.dockerfile.expansion import expand
from overlayfs_py.dockerfile.flags import FlagNames
from overlayfs_py.dockerfile.instructions import CommandLine, MountWords, Network, Run
from overlayfs_py.dockerfile.mounts import origin_of, parse_mount
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.call import Call
    from overlayfs_py.dockerfile.flags import Flags
    from overlayfs_py.dockerfile.words import Word

_FLAGS = FlagNames(single=("network", "security"), repeated=("mount", "device"))
_NETWORKS: tuple[Network, ...] = ("default", "none", "host")
_REFUSED = {
    "device": "--device is not offered: a build reaches no devices of the machine",
    "security": "--security=insecure is not offered: a build has no rights beyond its own",
}


def read_run(call: Call) -> Run:
    """Read a RUN."""
    flags = call.flags(_FLAGS)
    _refuse(call, flags)
    if not call.rest.text:
        raise call.error("RUN lacks a command: RUN COMMAND")
    if call.json == ():
        raise call.error("RUN [] lacks a program", call.rest)
    for heredoc in call.heredocs:
        if "\0" in heredoc.content:
            raise call.error("a NUL byte in the heredoc: no shell reads past it")
    return Run(
        **call.common(),
        command=CommandLine(call.json or (call.rest.text,), shell=call.json is None),
        heredocs=call.heredocs,
        mounts=tuple(_mount(call, word) for word in flags.words("mount")),
        network=_network(call, flags),
    )


def _refuse(call: Call, flags: Flags) -> None:
    devices, security = flags.words("device"), flags.word("security")
    if devices:
        raise call.error(_REFUSED["device"], devices[0])
    if security is not None and security.text == "insecure":
        raise call.error(_REFUSED["security"], security)
    if security is not None and security.text != "sandbox":
        raise call.error(f"--security={quoted(security.text)}: there is sandbox", security)


def _network(call: Call, flags: Flags) -> Network:
    word = flags.word("network")
    if word is None:
        return "default"
    for known in _NETWORKS:
        if word.text == known:
            return known
    raise call.error(
        f"no network {quoted(word.text)}{did_you_mean(word.text, _NETWORKS)}"
        f"{'' if did_you_mean(word.text, _NETWORKS) else ': ' + ', '.join(_NETWORKS)}",
        word,
    )


def _mount(call: Call, word: Word) -> MountWords:
    try:
        origin = origin_of(word.text)
        if "$" not in word.text:
            # Without variables it can be told right now whether it is one.
            parse_mount(word.text, lambda value: expand(value, {}, call.escape).text)
    except ExpansionError as error:
        raise call.error(error.reason, word) from None
    return MountWords(word.text, call.statement.position(word.offset), origin)
