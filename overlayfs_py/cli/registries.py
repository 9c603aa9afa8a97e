"""What commands that talk to registries take, and what the machine says about registries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.registry.credentials import CredentialSource
    from overlayfs_py.registry.machine import Machine

_TRUE, _FALSE = ("true", "1", "t", "yes"), ("false", "0", "f", "no")

_SWITCHES = ("--tls-verify", "--src-tls-verify")

Result = TypeVar("Result")
Command = TypeVar("Command", bound="Callable[..., object]")


class Truth(click.ParamType[bool]):
    name = "true|false"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> bool:
        text = str(value).lower()
        if text not in (*_TRUE, *_FALSE):
            self.fail(f"{value!r} is neither true nor false", param, ctx)
        return text in _TRUE


class RegistryCommand(click.Command):
    """Takes `--tls-verify` alone for true: podman's never takes the next word for its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        told = [f"{word}=true" if word in _SWITCHES else word for word in args]
        return super().parse_args(ctx, told)


class RegistryArguments(NamedTuple):
    """The options that all these commands have."""

    authfile: Path | None
    cert_dir: Path | None
    tls_verify: bool | None

    @property
    def words(self) -> list[str]:
        """The same as a command takes it."""
        words = [] if self.authfile is None else ["--authfile", str(self.authfile)]
        words += [] if self.cert_dir is None else ["--cert-dir", str(self.cert_dir)]
        told = str(self.tls_verify).lower()
        return words if self.tls_verify is None else [*words, f"--tls-verify={told}"]


def registry_options(command: Command) -> Command:
    """Add the options of `RegistryArguments` to a command."""
    for option in (
        click.option(
            "--tls-verify",
            type=Truth(),
            help="False: neither certificates nor TLS are needed.  [default: true]",
        ),
        click.option(
            "--cert-dir",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Authorities (*.crt) to trust, and who we are (*.cert, *.key).",
        ),
        click.option(
            "--authfile",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Where logins are.  [default: $REGISTRY_AUTH_FILE, or podman's, then docker's]",
        ),
    ):
        command = option(command)
    return command


content_trust_option = click.option(
    "--disable-content-trust",
    is_flag=True,
    expose_value=False,
    help="Accepted for docker; no effect.",
)


def machine() -> Machine:
    """This machine, as the environment shows it."""
    from overlayfs_py.registry.machine import Machine

    return Machine(os.environ)


def client_options(
    arguments: RegistryArguments, credentials: CredentialSource | None = None
) -> ClientOptions:
    """Return all that options, environment and the machine's files say about registries."""
    return machine().client_options(**arguments._asdict(), credentials=credentials)


def run_async(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run trio; a single failure comes out by itself."""
    import trio

    from overlayfs_py.transfer.failing import alone

    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        raise alone(group) from group
