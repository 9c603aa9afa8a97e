"""What is wrong with a template."""

from __future__ import annotations

from overlayfs_py.errors import OverlayError


class TemplateError(OverlayError):
    """A template that cannot be understood, in the words of Go's text/template."""

    exit_code = 64  # what docker ends with for a template that it cannot parse

    def __init__(self, message: str) -> None:
        super().__init__(None, message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class ExecutionError(TemplateError):
    """A template that does not fit the value it was given."""

    exit_code = 1


class FunctionError(Exception):
    """A function's own reason; whoever called it makes a TemplateError of it, with the place."""


class NotCallable(FunctionError):
    """What `call` was given is no function; its text is the type of what it is."""
