"""What a container's `network` means: whose devices and addresses it has."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.containers.name_files import HostsFile

if TYPE_CHECKING:
    from overlayfs_py.store.containers import ContainerRecord


class Mode(Enum):
    """What `--network` may say."""

    HOST = "host"  # the host's own
    NONE = "none"  # loopback alone


def parse_mode(text: str) -> Mode:
    """Return what a name means.

    Raises:
        ValueError: there is no such network.
    """
    try:
        return Mode(text)
    except ValueError:
        raise ValueError("there is no such network (host or none)") from None


class Network:
    """The network of one container that runs, from its start to its end."""

    def __init__(self, record: ContainerRecord) -> None:
        self.namespace_fd: int | None = None  # None: the host's
        self._mode = Mode(record.network)

    @property
    def hosts(self) -> HostsFile:
        """What /etc/hosts is to say there."""
        return HostsFile() if self._mode is Mode.HOST else HostsFile(is_hosts_own=False)

    def open(self) -> None:
        """Make what it needs; to be called while there is one thread.

        Raises:
            Failure: it cannot be.
        """
        if self._mode is Mode.HOST:
            return
        # Only here: most containers do without.
        from overlayfs_py.containers import network_namespace

        self.namespace_fd = network_namespace.make(())

    def close(self) -> None:
        if self.namespace_fd is not None:
            os.close(self.namespace_fd)
            self.namespace_fd = None
