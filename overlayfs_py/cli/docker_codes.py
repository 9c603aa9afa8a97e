"""Exit codes of commands about containers and volumes: docker's, so that scripts read them right.

125 for an option that there is not, or whose value is none; 1 for what else cannot be done. What
else the command ends with, 126, 127 and a container's own, it says itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.errors import Failure, OverlayError

if TYPE_CHECKING:
    from typing import NoReturn


class _BadOption(click.UsageError):
    exit_code = 125


class _BadWords(click.UsageError):
    exit_code = 1


# Of the errors that other commands tell apart: option, not there, ambiguous, in use, busy.
_ONE = (2, 31, 34, 35, 36)


def reraise(error: click.UsageError | OverlayError) -> NoReturn:
    """Raise the error again, with docker's exit code."""
    if isinstance(error, click.UsageError):
        kind = _BadOption if _is_about_option(error) else _BadWords
        raise kind(error.format_message(), error.ctx) from None
    if error.exit_code in _ONE:
        raise Failure(str(error)) from error
    raise error


def _is_about_option(error: click.UsageError) -> bool:
    if isinstance(error, click.BadParameter):
        return isinstance(error.param, click.Option)
    return isinstance(error, click.NoSuchOption | click.BadOptionUsage)
