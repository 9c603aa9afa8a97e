"""Where a machine and its user keep what they say about registries: podman's places, then docker's.

Sources: containers-auth.json(5), containers-registries.conf(5), containers-certs.d(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.registry.client import ClientOptions
from overlayfs_py.registry.configuration import Configuration, read_configuration
from overlayfs_py.registry.credentials import AuthFiles
from overlayfs_py.registry.proxies import Proxies
from overlayfs_py.syscalls.credentials import in_initial_user_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.registry.credentials import CredentialSource

_ETC = Path("/etc/containers")
_DOCKER_CERTS = Path("/etc/docker/certs.d")
_ROOTS_CACHE = Path("/var/cache")


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, for the user whose environment it is."""

    environment: Mapping[str, str]

    def client_options(
        self,
        *,
        tls_verify: bool | None = None,
        cert_dir: Path | None = None,
        authfile: Path | None = None,
        credentials: CredentialSource | None = None,
    ) -> ClientOptions:
        """Return all that the machine's files and the environment say, and what is told here.

        Args:
            tls_verify: whether certificates are checked and TLS is needed; None: as the files say.
            cert_dir: authorities and certificates for whatever registry.
            authfile: the file with logins, in place of those that are looked for.
            credentials: logins, in place of those of any file.

        Raises:
            Refused: a file is damaged.
        """
        return ClientOptions(
            credentials=credentials or AuthFiles(self.auth_files(authfile)),
            configuration=self.configuration(),
            tls_verify=tls_verify,
            cert_dir=cert_dir,
            certs_dirs=(self._config / "certs.d", _ETC / "certs.d", _DOCKER_CERTS),
            proxies=self.proxies(),
        )

    def configuration(self) -> Configuration:
        """Return what the registries.conf files say."""
        return read_configuration(self._registries_files())

    def auth_files(self, authfile: Path | None = None) -> list[Path]:
        """Return the files with logins, in the order to ask them; the first one is written to.

        A file that was named is the only one.
        """
        named = authfile or self._path("REGISTRY_AUTH_FILE")
        if named is not None:
            return [named]
        runtime = self._path("XDG_RUNTIME_DIR") or Path(f"/run/containers/{os.getuid()}")
        docker = self._path("DOCKER_CONFIG") or self._home / ".docker"
        return [
            runtime / "containers/auth.json",
            self._config / "auth.json",
            docker / "config.json",
        ]

    def _registries_files(self) -> list[Path]:
        """One file, what the .d directories add, and the short names that podman was told."""
        named = self._path("CONTAINERS_REGISTRIES_CONF")
        if named is not None:
            return [named]
        main = self._config / "registries.conf"
        additions = [
            path
            for directory in (_ETC, self._config)
            for path in sorted((directory / "registries.conf.d").glob("*.conf"))
        ]
        return [main if main.exists() else _ETC / "registries.conf", *additions, self._told_names]

    @property
    def _told_names(self) -> Path:
        """Where podman keeps what its user once chose for a short name."""
        cache = self._path("XDG_CACHE_HOME") or self._home / ".cache"
        # Root of a user namespace is a user, whose files are elsewhere than the machine's root's.
        is_machines_root = os.geteuid() == 0 and in_initial_user_namespace()
        base = _ROOTS_CACHE if is_machines_root else cache
        return base / "containers/short-name-aliases.conf"

    def proxies(self) -> Proxies:
        """What the environment says of proxies."""
        exceptions = (self._value("NO_PROXY") or "").split(",")
        return Proxies(
            self._value("HTTPS_PROXY"),
            self._value("HTTP_PROXY"),
            tuple(filter(None, map(str.strip, exceptions))),
        )

    def _value(self, name: str) -> str | None:
        return self.environment.get(name) or self.environment.get(name.lower()) or None

    @property
    def _home(self) -> Path:
        return self._path("HOME") or Path("~").expanduser()

    @property
    def _config(self) -> Path:
        return (self._path("XDG_CONFIG_HOME") or self._home / ".config") / "containers"

    def _path(self, variable: str) -> Path | None:
        text = self.environment.get(variable, "")
        return Path(text) if text else None
