"""What a container's `network` means: whose devices and addresses it has, and what leads there."""

from __future__ import annotations

import logging
import os
import signal
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.name_files import HostsFile

if TYPE_CHECKING:
    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.listeners import Listener
    from overlayfs_py.mounts.children import Child
    from overlayfs_py.store.containers import ContainerRecord

_REST_S = 0.1  # before another forwarder takes the place of one that was killed

log = logging.getLogger(__name__)


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

    def __init__(self, record: ContainerRecord, lock_fd: int) -> None:
        self.namespace_fd: int | None = None  # None: the host's
        self._mode = Mode(record.network)
        self._published = () if self._mode is Mode.HOST else record.ports
        self._lock_fd = lock_fd
        self._listeners: list[Listener] = []
        self._forwarder: Child | None = None

    @property
    def hosts(self) -> HostsFile:
        """What /etc/hosts is to say there."""
        if self._mode is Mode.HOST:
            return HostsFile()
        return HostsFile(is_hosts_own=False, address=(*self._own_addresses(), "127.0.0.1")[0])

    @property
    def ports(self) -> tuple[str, ...]:
        """What is published, as `ps` shows it."""
        return tuple(listener.text for listener in self._listeners)

    def open(self) -> None:
        """Make what it needs; to be called while there is one thread.

        Raises:
            Failure: it cannot be.
        """
        if self._mode is Mode.HOST:
            return
        # Only here: most containers do without.
        from overlayfs_py.containers import listeners, network_namespace

        self._listeners = listeners.bind_all(self._published)
        self.namespace_fd = network_namespace.make(self._own_addresses())
        if self._listeners:
            self._start_forwarder()

    def watch(self, loop: EventLoop) -> None:
        """Let another forwarder take the place of one that is killed.

        The sockets are here, too: clients wait meanwhile.
        """
        if self._forwarder is None:
            return
        forwarder = self._forwarder
        fd = os.pidfd_open(forwarder.pid)

        def ended() -> None:
            loop.forget(fd)
            os.close(fd)
            log.warning("the forwarder of ports ended; another takes its place")
            forwarder.wait()
            loop.call_later(_REST_S, again)

        def again() -> None:
            self._start_forwarder()
            self.watch(loop)

        loop.watch(fd, READABLE, ended)

    def close(self) -> None:
        if self._forwarder is not None:
            self._forwarder.kill(signal.SIGKILL)
            self._forwarder.wait()
        for listener in self._listeners:
            listener.sock.close()
        if self.namespace_fd is not None:
            os.close(self.namespace_fd)
            self.namespace_fd = None

    def _start_forwarder(self) -> None:
        from overlayfs_py.containers import forwarder

        assert self.namespace_fd is not None
        self._forwarder = forwarder.start(self._listeners, self.namespace_fd, self._lock_fd)

    def _own_addresses(self) -> tuple[str, ...]:
        """The one that servers are reached at, and the one that this is done from."""
        from overlayfs_py.containers import network_namespace

        if not self._published:
            return ()
        return network_namespace.ADDRESS, network_namespace.GATEWAY
