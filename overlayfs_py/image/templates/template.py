"""A template: parsed once, executed on any number of values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from overlayfs_py.image.templates.docker_functions import FUNCTIONS
from overlayfs_py.image.templates.execution import MissingKey, Program, execute
from overlayfs_py.image.templates.parser import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.image.templates.parser import Tree
    from overlayfs_py.image.templates.values import Function, Value


@dataclass(frozen=True, slots=True)
class Template:
    """A template and those that it defines."""

    name: str
    trees: Mapping[str, Tree]
    functions: Mapping[str, Function]

    def execute(self, value: Value | None, missing_key: MissingKey = MissingKey.NO_VALUE) -> str:
        """Return what it prints for `value`.

        Raises:
            ExecutionError: it does not fit the value.
        """
        return execute(Program(self.trees, self.functions, missing_key), self.name, value)

    def using(self, functions: Mapping[str, Function]) -> Template:
        """The same with other functions of the same names."""
        return replace(self, functions=functions)


def parse_template(
    text: str, name: str = "", functions: Mapping[str, Function] = FUNCTIONS
) -> Template:
    """Return the template that `text` is; `name` is what messages call it.

    Raises:
        TemplateError: it is none.
    """
    return Template(name, parse(name, text, functions), functions)
