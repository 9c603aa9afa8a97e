"""What commands about containers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from overlayfs_py.cli.store_arguments import open_store
from overlayfs_py.errors import Failure, OverlayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store


_Command = TypeVar("_Command", bound="Callable[..., object]")


class ContainerName(click.ParamType[str]):
    """A container by its name or ID; TAB completes names."""

    name = "container"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            known = open_store(ctx.params.get("root")).containers.all()
        except (OverlayError, OSError):
            return []  # a shell that waits for names has no place for a reason
        names = sorted(record.name for record in known)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


CONTAINER = ContainerName()


def detach_keys_option(command: _Command) -> _Command:
    """Give a command `--detach-keys`."""
    return click.option(
        "--detach-keys",
        "keys",
        default="",
        metavar="KEYS",
        help="Leave it alone with its terminal.  [default: ctrl-p,ctrl-q]",
    )(command)


def parsed_keys(text: str) -> bytes:
    """What a terminal sends for the keys.

    Raises:
        OptionError: some are none.
    """
    from overlayfs_py.backends.option_values import OptionError
    from overlayfs_py.containers import detach_keys

    try:
        return detach_keys.parse(text)
    except ValueError as error:
        raise OptionError("--detach-keys", str(error)) from None


def container_of(store: Store, name: str) -> ContainerRecord:
    """Return the container that a person means.

    Raises:
        Failure: there is none, with docker's exit code.
    """
    from overlayfs_py.store.failures import NotInStore

    try:
        return store.containers.get(name)
    except NotInStore as error:
        raise Failure(str(error)) from None


def for_each(
    store: Store,
    names: Iterable[str],
    work: Callable[[ContainerRecord], object],
    *,
    force: bool = False,
) -> int:
    """Do `work` with each container and print its name, as docker does; return the exit code.

    One that cannot be done does not keep the others; with `force` one that is not there is fine.
    """
    from overlayfs_py.store.failures import NotInStore

    code = 0
    for name in names:
        try:
            work(store.containers.get(name))
        except NotInStore as error:
            click.echo(f"overlayfs-py: {error}", err=True)
            code = code if force else code or 1
        except OverlayError as error:
            click.echo(f"overlayfs-py: {error}", err=True)
            code = code or 1
        else:
            click.echo(name)
    return code
