"""COPY and ADD."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from overlayfs_py.dockerfile.expansion import Variable
from overlayfs_py.dockerfile.flags import FlagNames
from overlayfs_py.dockerfile.heredocs import parse_mark
from overlayfs_py.dockerfile.instructions import Add, Copy
from overlayfs_py.dockerfile.words import Word, split_list
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.call import Call
    from overlayfs_py.dockerfile.flags import Flags
    from overlayfs_py.dockerfile.heredocs import Heredoc

_COPY = FlagNames(
    switches=("link", "parents"), single=("from", "chown", "chmod"), repeated=("exclude",)
)
_ADD = FlagNames(
    switches=("link", "keep-git-dir", "unpack"),
    single=("chown", "chmod", "checksum"),
    repeated=("exclude",),
)


_WITH_VARIABLES = ("chown", "chmod", "checksum")


class _Both(TypedDict):
    sources: tuple[str, ...]
    files: tuple[Heredoc, ...]
    destination: str
    chown: str
    chmod: str
    link: bool
    exclude: tuple[str, ...]


def read_copy(call: Call) -> Copy:
    """Read a COPY."""
    flags = call.flags(_COPY)
    return Copy(
        **call.common(),
        **_both(call, flags),
        origin=_origin(call, flags),
        parents=flags.switch("parents") or False,
    )


def _origin(call: Call, flags: Flags) -> str:
    word = flags.word("from")
    if word is None:
        return ""
    template = call.template(word)
    if any(isinstance(part, Variable) for part in template.parts):
        raise call.error(
            f"--from={quoted(word.text)}: it takes no variables: name a stage with FROM ... AS",
            word,
        )
    return template.expand({}).text


def read_add(call: Call) -> Add:
    """Read an ADD."""
    flags = call.flags(_ADD)
    return Add(
        **call.common(),
        **_both(call, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack"),
    )


def _both(call: Call, flags: Flags) -> _Both:
    words = split_list(call.rest)
    if call.json is not None:
        words = [Word(text, call.rest.offset) for text in call.json]
    if not words:
        raise call.error(f"{call.name} lacks a source and a destination")
    *sources, destination = words
    if not sources:
        raise call.error(f"{call.name} lacks a destination: {call.name} SOURCE DESTINATION")
    if parse_mark(destination.text) is not None:
        raise call.error(f"{call.name} cannot have a heredoc as its destination", destination)
    for word in [*words, *filter(None, map(flags.word, _WITH_VARIABLES))]:
        call.template(word)
    by_name = {heredoc.name: heredoc for heredoc in call.heredocs}
    paths: list[str] = []
    files: list[Heredoc] = []
    for word in sources:
        mark = parse_mark(word.text)
        heredoc = by_name.get(mark.name) if mark is not None else None
        if heredoc is None:
            paths.append(word.text)
        else:
            files.append(heredoc)
    return {
        "sources": tuple(paths),
        "files": tuple(files),
        "destination": destination.text,
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": flags.switch("link") or False,
        "exclude": tuple(word.text for word in flags.words("exclude")),
    }
