"""Bringing an image from its registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from overlayfs_py.api import environment
from overlayfs_py.image.platform import machine_platform, parse_platform
from overlayfs_py.registry.client import RegistryClient
from overlayfs_py.registry.short_names import candidates
from overlayfs_py.transfer.failing import alone
from overlayfs_py.transfer.pull import Pulled, PullOptions, pull_first
from overlayfs_py.transfer.watch import Unwatched, Watch

if TYPE_CHECKING:
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store


def pull(
    store: Store,
    name: str,
    options: ClientOptions | None = None,
    *,
    platform: str | None = None,
    watch: Watch | None = None,
) -> StoredImage:
    """Bring an image from its registry into the store, and return it; layers that are here stay.

    Args:
        store: where to.
        name: as on the command line: `debian:12`, `localhost:5000/app@sha256:...`.
        options: logins, mirrors, TLS. None: what the command line has, the files of podman and
            docker, and proxies. `ClientOptions()`: nobody logged in, and no file is read.
        platform: which image of several, `linux/arm64`. None: the machine's own.
        watch: told, in this thread, of everything that happens.

    Raises:
        OverlayError: there is no such image, the registry denies it or cannot be reached, or what
            came is not what its digest says; nothing names it then.
    """
    options = options or environment.client_options()
    asked = machine_platform(os.uname().machine) if platform is None else parse_platform(platform)
    references = [each.with_default_tag() for each in candidates(options.configuration, name)]

    async def work() -> Pulled:
        async with RegistryClient(options) as client:
            how = PullOptions(asked)
            return await pull_first(store, client, references, how, watch or Unwatched())

    try:
        return trio.run(work).image
    except BaseExceptionGroup as group:
        raise alone(group) from group
