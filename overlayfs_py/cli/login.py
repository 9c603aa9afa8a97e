"""`overlayfs-py login`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.registries import (
    RegistryArguments,
    RegistryCommand,
    client_options,
    machine,
    registry_options,
    run_async,
)
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.registry.credentials import Password

_HELP = """Try a user and a password at a registry, and keep them if it accepts them.

They go to the file that podman, buildah and skopeo use too, readable by its owner alone, or to
the credential program that this file names. REGISTRY is docker.io if it is not given.

\b
Examples:
  overlayfs-py login -u ada registry.example.com
  pass registry | overlayfs-py login -u ada --password-stdin localhost:5000
  overlayfs-py login --get-login registry.example.com
"""


@click.command("login", cls=RegistryCommand, help=_HELP)
@click.option("-u", "--username", metavar="USER", help="Asked for on a terminal if not given.")
@click.option("-p", "--password", metavar="SECRET", help="Better asked for: others see it here.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--get-login", is_flag=True, help="Print the user that is logged in, and end.")
@registry_options
@click.argument("registry", default="docker.io")
def command(
    username: str | None,
    password: str | None,
    authfile: Path | None,
    cert_dir: Path | None,
    registry: str,
    *,
    password_stdin: bool,
    get_login: bool,
    tls_verify: bool | None,
) -> None:
    from overlayfs_py.registry.auth_file import normal_name
    from overlayfs_py.registry.credentials import Password
    from overlayfs_py.registry.logins import keep_login

    name = normal_name(registry)
    if get_login:
        click.echo(run_async(lambda: _logged_in(name, machine().auth_files(authfile))))
        return
    user = username or _ask("Username", is_secret=False)
    secret = _secret(password, from_stdin=password_stdin)
    arguments = RegistryArguments(authfile, cert_dir, tls_verify)
    run_async(lambda: _try(name, Password(user, secret), arguments))
    run_async(lambda: keep_login(machine().auth_files(authfile)[0], name, user, secret))
    click.echo("Login Succeeded!")


async def _try(name: str, password: Password, arguments: RegistryArguments) -> None:
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.registry.credentials import Given

    domain = name.partition("/")[0]
    options = client_options(arguments, Given(domain, password))
    async with RegistryClient(options) as client:
        await client.host(domain).check(name)


async def _logged_in(name: str, files: list[Path]) -> str:
    from overlayfs_py.registry.credentials import AuthFiles, Password

    domain, _, path = name.partition("/")
    found = await AuthFiles(files).find(domain, path)
    if found is None:
        raise Failure(f"{name}: not logged in")
    return found.user if isinstance(found, Password) else "<token>"


def _secret(password: str | None, *, from_stdin: bool) -> str:
    if from_stdin:
        if password is not None:
            raise click.UsageError("--password and --password-stdin exclude each other")
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    return _ask("Password", is_secret=True) if password is None else password


def _ask(what: str, *, is_secret: bool) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"no {what.lower()}, and no terminal to ask for it")
    return str(click.prompt(what, hide_input=is_secret))
