"""Instructions with the values of their variables in them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct, structs

from overlayfs_py.dockerfile.errors import DockerfileError, ExpansionError
from overlayfs_py.dockerfile.expansion import Expanded, expand, expand_body, expand_words
from overlayfs_py.dockerfile.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    Instruction,
    Label,
    Pair,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from overlayfs_py.dockerfile.mounts import Mount, parse_mount
from overlayfs_py.dockerfile.ports import parse_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from overlayfs_py.dockerfile.heredocs import Heredoc

_Any = TypeVar("_Any", bound=Instruction)
_ONE_WORD: Mapping[type[Instruction], tuple[str, ...]] = {
    Workdir: ("path",),
    User: ("user",),
    StopSignal: ("signal",),
    Copy: ("destination", "chown", "chmod"),
    Add: ("destination", "chown", "chmod", "checksum"),
}
_SEVERAL_WORDS: Mapping[type[Instruction], str] = {Copy: "sources", Add: "sources", Volume: "paths"}


class Resolved(Struct, Generic[_Any], frozen=True):
    """An instruction without variables, and the names of those that it had."""

    instruction: _Any
    used: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


def expanded(instruction: _Any, values: Mapping[str, str], escape: str = "\\") -> Resolved[_Any]:
    """Put `values` into an instruction wherever it may have variables.

    Names of ARG and FROM have others: `expand_default`, `expand_base`. RUN, CMD, ENTRYPOINT,
    SHELL, HEALTHCHECK, ONBUILD and MAINTAINER come back as they are; `resolve_mounts` is for RUN.
    The ports of EXPOSE are then as in a config.

    Raises:
        DockerfileError: a variable must be set and is not, a pattern or a port is none.
    """
    words = _Words(values, escape)
    with placed(instruction):
        changes = words.changes(instruction)
    if not changes:
        return Resolved(instruction)
    return Resolved(
        structs.replace(instruction, **changes),
        frozenset(words.used),
        frozenset(words.missing),
    )


def resolve_mounts(
    run: Run, values: Mapping[str, str], escape: str = "\\"
) -> tuple[tuple[Mount, ...], frozenset[str]]:
    """Return the mounts of a RUN, and the names of the variables in them.

    Raises:
        DockerfileError: a mount is none, with these values.
    """
    words = _Words(values, escape)
    with placed(run):
        mounts = tuple(parse_mount(each.text, words.text) for each in run.mounts)
    return mounts, frozenset(words.used)


def expand_at(
    instruction: Instruction, word: str, values: Mapping[str, str], escape: str = "\\"
) -> Expanded:
    """Put `values` into one word of an instruction, a base or a default for example.

    Raises:
        DockerfileError: as `expanded`.
    """
    with placed(instruction):
        return expand(word, values, escape)


@contextmanager
def placed(instruction: Instruction) -> Iterator[None]:
    """Let an error of a word be one of the instruction."""
    try:
        yield
    except ExpansionError as error:
        raise DockerfileError(instruction.position, error.reason, instruction.source) from None


class _Words:
    """The words of one instruction, and what they use together."""

    def __init__(self, values: Mapping[str, str], escape: str) -> None:
        self._values = values
        self._escape = escape
        self.used: set[str] = set()
        self.missing: set[str] = set()

    def text(self, word: str) -> str:
        return self._noted(expand(word, self._values, self._escape))

    def changes(self, instruction: Instruction) -> dict[str, object]:
        """The fields that may have variables, with values in them."""
        kind = type(instruction)
        changes: dict[str, object] = {
            name: self.text(getattr(instruction, name)) for name in _ONE_WORD.get(kind, ())
        }
        if kind in _SEVERAL_WORDS:
            name = _SEVERAL_WORDS[kind]
            changes[name] = tuple(map(self.text, getattr(instruction, name)))
        if isinstance(instruction, Copy | Add):
            changes["files"] = tuple(map(self._file, instruction.files))
        if isinstance(instruction, Env | Label):
            changes["pairs"] = tuple(map(self._pair, instruction.pairs))
        if isinstance(instruction, Expose):
            changes["ports"] = tuple(
                port
                for text in instruction.ports
                for word in self._several(text)
                for port in parse_ports(word)
            )
        return changes

    def _noted(self, found: Expanded) -> str:
        self.used |= found.used
        self.missing |= found.missing
        return found.text

    def _several(self, text: str) -> tuple[str, ...]:
        found = expand_words(text, self._values, self._escape)
        self.used |= found.used
        self.missing |= found.missing
        return found.words

    def _pair(self, pair: Pair) -> Pair:
        return structs.replace(pair, name=self.text(pair.name), value=self.text(pair.value))

    def _file(self, heredoc: Heredoc) -> Heredoc:
        if not heredoc.mark.expand:
            return heredoc
        content = self._noted(expand_body(heredoc.body, self._values))
        # Its tabs are gone already, and those that values brought along stay.
        return structs.replace(
            heredoc,
            content=content,
            mark=structs.replace(heredoc.mark, expand=False, strip_tabs=False),
        )
