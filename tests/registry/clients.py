"""Our client with few tries, and the reference that names a repository."""

from __future__ import annotations

from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.reference import Reference
from overlayfs_py.registry.client import ClientOptions, RegistryClient
from overlayfs_py.registry.credentials import Anonymous, CredentialSource, Given, Password
from overlayfs_py.registry.retrying import RetryPolicy

# Long enough for a busy machine where an answer comes, short where a test waits for none.
QUICK = RetryPolicy(connect_s=10, silence_s=10, tries=4, first_delay_s=0.001)
USER, SECRET = "ada", "correct horse"


def client(
    *,
    retry: RetryPolicy = QUICK,
    credentials: CredentialSource | None = None,
    tls_verify: bool | None = False,
) -> RegistryClient:
    options = ClientOptions(
        credentials=credentials or Anonymous(), tls_verify=tls_verify, retry=retry
    )
    return RegistryClient(options)


def login(domain: str, secret: str = SECRET) -> Given:
    return Given(domain, Password(USER, secret))


def name(domain: str, path: str = "team/app") -> Reference:
    return Reference(domain, path)


def blob(data: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", digest_of(data), len(data))
