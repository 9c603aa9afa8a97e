"""What somebody may have meant by a command that is not there."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RUN = "`overlayfs-py run`, `start`, `exec`, `stop`, `ps`, `logs` and `rm` are there"
_KEPT = f"not there yet: {_RUN}"
_BUILD = "`overlayfs-py build`; its cache is in the store"
# Words of docker and podman, and of others that handle images and mounts.
_ELSEWHERE = {
    "update": _KEPT,
    "buildx": _BUILD,
    "compose": _KEPT,
    "cp": "`overlayfs-py image mount IMAGE DIR`, or `image cat` for one file",
    "help": "`overlayfs-py --help`, or `overlayfs-py COMMAND --help`",
    "info": "`overlayfs-py doctor` says what this machine offers",
    "manifest": "`overlayfs-py inspect IMAGE`",
    "network": "`run --network host`, `none` or `private`; none joins containers",
    "search": "registries are not searched: `overlayfs-py pull NAME`",
    "system": "`overlayfs-py store df`, `store prune`, or `doctor`",
    "unmount": "did you mean `umount`?",
    "unshare": "commands without root make a user namespace by themselves",
    "version": "`overlayfs-py --version`",
}


def hint(word: str, path: str) -> str:
    """Return what to say of a command that `path` does not have, empty if nothing comes to mind."""
    spellings = _spellings()
    elsewhere = [spelling for names in spellings.values() for spelling in names.get(word, ())]
    if elsewhere:
        return _did_you_mean(elsewhere)
    if word in _ELSEWHERE:
        return _ELSEWHERE[word]
    for names in (spellings[path], _all(spellings)):
        near = difflib.get_close_matches(word, [*names, *_ELSEWHERE], n=3, cutoff=0.6)
        ways = [spelling for name in near for spelling in names.get(name, ())]
        if near and near[0] not in names:
            return f"{near[0]}: {_ELSEWHERE[near[0]]}"
        if ways:
            return _did_you_mean(ways)
    return ""


def _did_you_mean(spellings: Sequence[str]) -> str:
    # Most commands on containers have two names, of which the shorter one comes first.
    shown = [each for each in spellings if not _has_shorter(each, spellings)]
    return f"did you mean {' or '.join(f'`{each}`' for each in shown)}?"


def _has_shorter(spelling: str, spellings: Sequence[str]) -> bool:
    return " container " in spelling and spelling.replace(" container ", " ") in spellings


def _spellings() -> dict[str, dict[str, list[str]]]:
    """For each group, by the words that call it, its commands and how each is called."""
    from overlayfs_py.cli import commands, container, image, layer, store, volume, warm

    groups = {
        commands.NAME: commands.command_line,
        f"{commands.NAME} container": container.command,
        f"{commands.NAME} image": image.command,
        f"{commands.NAME} layer": layer.command,
        f"{commands.NAME} store": store.command,
        f"{commands.NAME} volume": volume.command,
        f"{commands.NAME} warm": warm.command,
    }
    return {
        path: {name: [f"{path} {name}"] for name in group.list_commands(None)}
        for path, group in groups.items()
    }


def _all(spellings: Mapping[str, Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """By name, every way to call a command of that name."""
    found: dict[str, list[str]] = {}
    for names in spellings.values():
        for name, ways in names.items():
            found.setdefault(name, []).extend(ways)
    return found
