"""`overlayfs-py logout`."""

from __future__ import annotations

from pathlib import Path

import click

from overlayfs_py.cli.registries import machine, run_async
from overlayfs_py.errors import Failure

_HELP = """Forget a login, or all of them.

\b
Examples:
  overlayfs-py logout registry.example.com
  overlayfs-py logout --all
"""


@click.command("logout", help=_HELP)
@click.option("-a", "--all", "is_all", is_flag=True, help="All logins of the file.")
@click.option(
    "--authfile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where logins are.  [default: $REGISTRY_AUTH_FILE, or podman's]",
)
@click.argument("registry", default="docker.io")
def command(authfile: Path | None, registry: str, *, is_all: bool) -> None:
    from overlayfs_py.registry.auth_file import normal_name, remove_all_logins
    from overlayfs_py.registry.logins import forget_login

    own, *others = machine().auth_files(authfile)
    if is_all:
        remove_all_logins(own)
        click.echo("Removed login credentials for all registries")
        return
    name = normal_name(registry)
    if run_async(lambda: forget_login(own, name)):
        click.echo(f"Removed login credentials for {name}")
        return
    elsewhere = [str(path) for path in others if _has_login(path, name)]
    if elsewhere:
        raise Failure(f"{name}: the login is in {elsewhere[0]}, which another program keeps")
    raise Failure(f"{name}: not logged in")


def _has_login(path: Path, name: str) -> bool:
    from overlayfs_py.registry.auth_file import read_auth_file

    domain, _, rest = name.partition("/")
    return read_auth_file(path).entry_for(domain, rest) is not None
