"""The way in: repositories by reference, over connections that are shared and closed together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.registry.configuration import Configuration, Location
from overlayfs_py.registry.credentials import Anonymous
from overlayfs_py.registry.host import Host
from overlayfs_py.registry.proxies import Proxies
from overlayfs_py.registry.repository import Repository
from overlayfs_py.registry.retrying import RetryPolicy
from overlayfs_py.registry.tls import find_tls_files
from overlayfs_py.registry.transport import TransportOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.credentials import CredentialSource


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """All that the user and the machine say about registries."""

    credentials: CredentialSource = field(default_factory=Anonymous)
    configuration: Configuration = field(default_factory=Configuration)
    tls_verify: bool | None = None  # None: as the configuration says for each registry
    # The same for one registry by its name, before it: the two sides of a push. None: as above.
    tls_verify_of: Callable[[str], bool | None] = lambda _: None
    cert_dir: Path | None = None  # for whatever registry, in place of `certs_dirs`
    certs_dirs: tuple[Path, ...] = ()  # each has a directory per registry
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    proxies: Proxies = field(default_factory=Proxies)


class RegistryClient:
    """Registries, each connected to when it is first used."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._hosts: dict[tuple[str, bool], Host] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    def pull_sources(self, reference: Reference) -> list[Repository]:
        """Return where the image may come from, in the order to try: mirrors first."""
        return [self._repository(at) for at in self._options.configuration.locations(reference)]

    def push_target(self, reference: Reference) -> Repository:
        """Return where the image goes."""
        return self._repository(self._options.configuration.push_location(reference))

    def host(self, domain: str, *, insecure: bool = False) -> Host:
        """Return a registry by its name in references."""
        verify = self._options.tls_verify_of(domain)
        verify = self._options.tls_verify if verify is None else verify
        insecure = insecure if verify is None else not verify
        key = domain, insecure
        if key not in self._hosts:
            host = Host(
                domain, self._transport_options(domain, insecure), self._options.credentials
            )
            self._open.push_async_exit(host)
            self._hosts[key] = host
        return self._hosts[key]

    def _repository(self, at: Location) -> Repository:
        return Repository(self.host(at.domain, insecure=at.insecure), at.path)

    def _transport_options(self, domain: str, insecure: bool) -> TransportOptions:
        options = self._options
        directories = tuple(path / domain for path in options.certs_dirs)
        if options.cert_dir is not None:
            directories = (options.cert_dir,)
        return TransportOptions(
            find_tls_files(directories), insecure, options.retry, options.proxies
        )
