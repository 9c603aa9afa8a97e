"""What commands that talk to registries take, and what the machine says about registries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.registry.credentials import CredentialSource
    from overlayfs_py.registry.proxies import Proxies

_ETC = Path("/etc/containers")
_TRUE, _FALSE = ("true", "1", "t", "yes"), ("false", "0", "f", "no")

Result = TypeVar("Result")
Command = TypeVar("Command", bound="Callable[..., object]")


class _Truth(click.ParamType[bool]):
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
        told = ["--tls-verify=true" if word == "--tls-verify" else word for word in args]
        return super().parse_args(ctx, told)


class RegistryArguments(NamedTuple):
    """The options that all these commands have."""

    authfile: Path | None
    cert_dir: Path | None
    tls_verify: bool | None


def registry_options(command: Command) -> Command:
    """Add the options of `RegistryArguments` to a command."""
    for option in (
        click.option(
            "--tls-verify",
            type=_Truth(),
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


def auth_files(authfile: Path | None) -> list[Path]:
    """Return the files with logins, in the order to ask them; the first one is written to.

    Source: containers-auth.json(5). A file that was named is the only one.
    """
    named = authfile or _path("REGISTRY_AUTH_FILE")
    if named is not None:
        return [named]
    runtime = _path("XDG_RUNTIME_DIR") or Path(f"/run/containers/{os.getuid()}")
    docker = _path("DOCKER_CONFIG") or Path.home() / ".docker"
    return [
        runtime / "containers/auth.json",
        _config_home() / "containers/auth.json",
        docker / "config.json",
    ]


def client_options(
    arguments: RegistryArguments, credentials: CredentialSource | None = None
) -> ClientOptions:
    """Return all that options, environment and the machine's files say about registries."""
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.registry.configuration import read_configuration
    from overlayfs_py.registry.credentials import AuthFiles

    own = _config_home() / "containers"
    return ClientOptions(
        credentials=credentials or AuthFiles(auth_files(arguments.authfile)),
        configuration=read_configuration(_registries_files(own)),
        tls_verify=arguments.tls_verify,
        cert_dir=arguments.cert_dir,
        certs_dirs=(own / "certs.d", _ETC / "certs.d", Path("/etc/docker/certs.d")),
        proxies=_proxies(os.environ),
    )


def run_async(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run trio; a single failure comes out by itself."""
    import trio

    from overlayfs_py.transfer.failing import alone

    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        raise alone(group) from group


def _registries_files(own: Path) -> list[Path]:
    """containers-registries.conf(5): one file, then what the .d directories add."""
    named = _path("CONTAINERS_REGISTRIES_CONF")
    if named is not None:
        return [named]
    main = own / "registries.conf"
    additions = [
        path
        for directory in (_ETC, own)
        for path in sorted((directory / "registries.conf.d").glob("*.conf"))
    ]
    return [main if main.exists() else _ETC / "registries.conf", *additions]


def _proxies(environment: Mapping[str, str]) -> Proxies:
    from overlayfs_py.registry.proxies import Proxies

    def value(name: str) -> str | None:
        return environment.get(name) or environment.get(name.lower()) or None

    exceptions = (value("NO_PROXY") or "").split(",")
    return Proxies(
        value("HTTPS_PROXY"), value("HTTP_PROXY"), tuple(filter(None, map(str.strip, exceptions)))
    )


def _config_home() -> Path:
    return _path("XDG_CONFIG_HOME") or Path.home() / ".config"


def _path(variable: str) -> Path | None:
    text = os.environ.get(variable, "")
    return Path(text) if text else None
