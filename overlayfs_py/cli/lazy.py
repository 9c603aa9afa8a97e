"""Groups whose commands are imported when they are used: every start counts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """A group of commands, each the `command` of a module of this package."""

    def __init__(self, *args: object, modules: Mapping[str, str], **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._modules:
            return None
        found = importlib.import_module(f"overlayfs_py.cli.{self._modules[cmd_name]}").command
        assert isinstance(found, click.Command)
        return found
