"""Instructions of a Dockerfile, typed. Words are as written, their variables not yet put in.

`expanding.expanded` gives the instruction with them in it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec import Struct, structs

from overlayfs_py.dockerfile.heredocs import parse_mark

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.directives import Directives
    from overlayfs_py.dockerfile.errors import Position
    from overlayfs_py.dockerfile.heredocs import Heredoc

Network = Literal["default", "none", "host"]


class Instruction(Struct, frozen=True, kw_only=True):
    """What every instruction has."""

    NAME: ClassVar[str]

    position: Position  # of its first character
    last_line: int  # heredocs included
    source: str  # as written, on one line, heredocs apart
    keyword: str = ""  # its first word as written
    comments: tuple[str, ...] = ()  # the lines of comment right above, without `#`
    empty_lines: tuple[int, ...] = ()  # numbers of empty lines that continue it
    # Where each line of it begins: offset in `source`, line of the file, column.
    starts: tuple[tuple[int, int, int], ...] = ()

    def position_at(self, offset: int) -> Position:
        """Where the character at `offset` of `source` is in the file."""
        at = bisect_right(self.starts, (offset, 1 << 62, 0)) - 1
        start, line, column = self.starts[at]
        return structs.replace(self.position, line=line, column=column + offset - start)


class CommandLine(Struct, frozen=True):
    """A command: `words` as they are, or one text for the shell."""

    words: tuple[str, ...]
    shell: bool

    @property
    def text(self) -> str:
        """The text for the shell; of an exec form its words with spaces between."""
        return " ".join(self.words)


class Script(Struct, frozen=True):
    """What a RUN in shell form runs: a text for the shell, or a file to execute."""

    text: str
    file: Heredoc | None = None  # one that begins with `#!`: executed, whatever the shell is


class Pair(Struct, frozen=True):
    """`name=value` of ENV and LABEL."""

    name: str
    value: str
    old_form: bool = False  # `name value`


class MountWords(Struct, frozen=True):
    """The value of a `--mount`; `mounts.parse_mount` reads it once its variables are known."""

    text: str
    position: Position
    origin: str | None  # what `from=` names: a stage, a build context or an image


class Run(Instruction, frozen=True, kw_only=True):
    """RUN: a command whose changes become a layer. Only values of mounts have variables."""

    NAME = "RUN"
    command: CommandLine
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountWords, ...] = ()
    network: Network = "default"

    @property
    def script(self) -> Script:
        """What runs, for a command in shell form.

        One heredoc without a command is the script itself. Beside a command, heredocs are the
        shell's: they stand below it as in the file.
        """
        line = self.command.text
        if not self.heredocs:
            return Script(line)
        if parse_mark(line) is not None:
            heredoc = self.heredocs[0]
            is_file = heredoc.body.startswith("#!")
            return Script(heredoc.body, heredoc if is_file else None)
        below = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in self.heredocs)
        return Script(line + below)


class CopyingInstruction(Instruction, frozen=True, kw_only=True):
    """What COPY and ADD have in common. Everything but `exclude` may have variables."""

    sources: tuple[str, ...]
    files: tuple[Heredoc, ...] = ()  # sources whose content stands in the Dockerfile
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


class Copy(CopyingInstruction, frozen=True, kw_only=True):
    """COPY: files of the context, a stage or an image become a layer."""

    NAME = "COPY"
    origin: str = ""  # what `--from` names, empty for the build context
    parents: bool = False


class Add(CopyingInstruction, frozen=True, kw_only=True):
    """ADD: as COPY, and URLs, git repositories and archives."""

    NAME = "ADD"
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Env(Instruction, frozen=True, kw_only=True):
    """ENV. All values are those of before the instruction: `ENV a=1 b=$a` takes the old `a`."""

    NAME = "ENV"
    pairs: tuple[Pair, ...]


class Label(Instruction, frozen=True, kw_only=True):
    """LABEL; names and values may have variables."""

    NAME = "LABEL"
    pairs: tuple[Pair, ...]


class Argument(Struct, frozen=True):
    """A name of an ARG, and its default."""

    name: str
    default: str | None = None  # may have variables


class Arg(Instruction, frozen=True, kw_only=True):
    """ARG. One after the other: `ARG a=1 b=$a` takes the new `a`."""

    NAME = "ARG"
    arguments: tuple[Argument, ...]


class Workdir(Instruction, frozen=True, kw_only=True):
    """WORKDIR; may have variables, may be relative to the one before."""

    NAME = "WORKDIR"
    path: str


class User(Instruction, frozen=True, kw_only=True):
    """USER: `name`, `uid`, with `:group`; may have variables."""

    NAME = "USER"
    user: str


class Expose(Instruction, frozen=True, kw_only=True):
    """EXPOSE: words that `ports.parse_ports` reads once their variables are known."""

    NAME = "EXPOSE"
    ports: tuple[str, ...]


class Volume(Instruction, frozen=True, kw_only=True):
    """VOLUME; paths may have variables."""

    NAME = "VOLUME"
    paths: tuple[str, ...]


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """ENTRYPOINT; no variables of the build."""

    NAME = "ENTRYPOINT"
    command: CommandLine


class Cmd(Instruction, frozen=True, kw_only=True):
    """CMD; no variables of the build."""

    NAME = "CMD"
    command: CommandLine


class Shell(Instruction, frozen=True, kw_only=True):
    """SHELL: what runs commands in shell form from here on."""

    NAME = "SHELL"
    words: tuple[str, ...]


class StopSignal(Instruction, frozen=True, kw_only=True):
    """STOPSIGNAL: a name or number, which nobody has looked at yet; may have variables."""

    NAME = "STOPSIGNAL"
    signal: str


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """HEALTHCHECK: `test` as in a config, `("NONE",)` takes away what the base has."""

    NAME = "HEALTHCHECK"
    test: tuple[str, ...]
    interval_ns: int = 0  # 0 is the default, here and below
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class Onbuild(Instruction, frozen=True, kw_only=True):
    """ONBUILD: an instruction for whoever builds on this image."""

    NAME = "ONBUILD"
    expression: str  # as a config has it, heredocs below; `parsing.parse_trigger` reads it
    trigger: Instruction


class Maintainer(Instruction, frozen=True, kw_only=True):
    """MAINTAINER, which is deprecated."""

    NAME = "MAINTAINER"
    author: str


class Stage(Instruction, frozen=True, kw_only=True):
    """FROM, and the instructions up to the next one."""

    NAME = "FROM"
    base: str  # an image, an earlier stage or `scratch`; may have variables of global ARGs
    platform: str = ""  # likewise; empty for that of the target
    name: str | None = None  # in small letters
    as_word: str = ""  # `AS` as written
    written_name: str = ""
    instructions: tuple[Instruction, ...] = ()


class Dockerfile(Struct, frozen=True):
    """A Dockerfile, read."""

    name: str
    directives: Directives
    arguments: tuple[Arg, ...]  # those before the first FROM: for FROM, and for ARG without default
    stages: tuple[Stage, ...]
