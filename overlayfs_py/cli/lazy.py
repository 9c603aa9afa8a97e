"""Groups whose commands are imported when they are used: every start counts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

from overlayfs_py.cli.flag_values import plain_flags
from overlayfs_py.cli.summaries import SUMMARIES
from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class _NoCommand(click.ClickException):
    """A command that is not there, where there is better advice than to see the help."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group of commands, each the `command` of a module of this package."""

    def __init__(
        self,
        *args: object,
        modules: Mapping[str, str],
        aliases: Mapping[str, str] | None = None,  # not listed
        docker_codes: Container[str] = (),  # the commands that end with docker's exit codes
        **options: object,
    ) -> None:
        # Help where a command is missing would be many lines of error.
        options["no_args_is_help"] = False
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._modules = modules
        self._aliases = aliases or {}
        self._docker_codes = docker_codes

    def module_of(self, name: str) -> str:
        """Return the name of the module of a command."""
        return self._modules[name]

    def list_commands(self, _: click.Context | None) -> list[str]:
        return sorted(self._modules)

    def _has(self, name: str) -> bool:
        return self._aliases.get(name, name) in self._modules

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = self._aliases.get(cmd_name, cmd_name)
        if cmd_name not in self._modules:
            return None
        found = importlib.import_module(f"overlayfs_py.cli.{self._modules[cmd_name]}").command
        assert isinstance(found, click.Command)
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, plain_flags(self, ctx, args) if args else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and give it its words with all flags as click has them."""
        if not ctx.resilient_parsing and not self._has(args[0]):
            self._refuse(ctx, args[0])
        name, found, words = super().resolve_command(ctx, args)
        if found is None or ctx.resilient_parsing:
            return name, found, words
        own = click.Context(found, parent=ctx, info_name=name)
        return name, found, plain_flags(found, own, words)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.UsageError, OverlayError) as error:
            name = ctx.invoked_subcommand or ""
            if self._aliases.get(name, name) not in self._docker_codes:
                raise
            from overlayfs_py.cli.docker_codes import reraise

            reraise(error)

    def _refuse(self, ctx: click.Context, word: str) -> NoReturn:
        """Say that there is no such command, and what may be meant."""
        from overlayfs_py.cli.near import hint  # which brings difflib along

        advice = hint(word, ctx.command_path)
        if advice:
            raise _NoCommand(f"no command {word!r}: {advice}")
        raise click.UsageError(f"no command {word!r}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        rows = [(name, SUMMARIES[self.module_of(name)]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete names of commands without loading them, and options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*map(CompletionItem, names), *options]
