"""What several commands take on their command line."""

from __future__ import annotations

import textwrap

import click
from click.shell_completion import CompletionItem

_DRIVERS = ("auto", "direct", "pyfuse3")

# For completion only. Whether a path is there and readable is found out by using it: the mount
# point of a dead daemon can be unmounted, but not looked at.
PATH = click.Path(readable=False)

driver_option = click.option(
    "--driver",
    type=click.Choice(_DRIVERS),
    default="auto",
    show_default=True,
    help="How requests are answered.",
)

_INDENT = 2
_WIDTH = 78
_MEANING_AT = 28


class MountOptions(click.ParamType[str]):
    """What follows `-o`; TAB completes names, their values, paths, and images."""

    name = "options"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        name, equals, value = last.partition("=")
        if not equals:
            return [
                CompletionItem(f"{before}{comma}{word}")
                for word in _option_words()
                if word.startswith(last)
            ]
        values = _values().get(name)
        above, told, image = value.rpartition("image=")
        if name == "lowerdir" and told and (not above or above.endswith(":")):
            return _image_words(incomplete.removesuffix(image), image)
        if values is None:
            return [CompletionItem(incomplete, type="file")]
        start = incomplete.removesuffix(value)
        return [CompletionItem(start + each) for each in values if each.startswith(value)]


def _image_words(start: str, beginning: str) -> list[CompletionItem]:
    from overlayfs_py.cli.store_arguments import completed_images

    return [CompletionItem(start + name) for name in completed_images(None, beginning)]


def _option_words() -> list[str]:
    """All options, with the equals sign where there is one."""
    from overlayfs_py.backends.option_table import OPTIONS

    words = []
    for described in OPTIONS:
        for form in described.forms:
            name, equals, _ = form.partition("=")
            words.append(f"{name}{equals}")
    return words


def _values() -> dict[str, tuple[str, ...]]:
    from overlayfs_py.backends.option_table import OPTIONS

    return {name: each.values for each in OPTIONS if each.values for name in each.names}


def describe_options() -> str:
    """Return all mount options for a help text, a paragraph that is not to be wrapped."""
    from overlayfs_py.backends.option_table import OPTIONS

    return "\n".join(
        line for each in OPTIONS for line in _option_lines(", ".join(each.forms), each.meaning)
    )


def _option_lines(forms: str, meaning: str) -> list[str]:
    left, rest = " " * _INDENT, " " * _MEANING_AT
    if len(forms) < _MEANING_AT - _INDENT - 1:
        first = f"{left}{forms}".ljust(_MEANING_AT)
        return textwrap.wrap(meaning, _WIDTH, initial_indent=first, subsequent_indent=rest)
    above = textwrap.wrap(forms, _WIDTH, initial_indent=left, subsequent_indent=left)
    return [*above, *textwrap.wrap(meaning, _WIDTH, initial_indent=rest, subsequent_indent=rest)]
