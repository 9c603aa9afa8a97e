"""What a container's `network` means: whose devices and addresses it has, and what leads there."""

from __future__ import annotations

import logging
import os
import signal
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.name_files import Names
from overlayfs_py.errors import Failure, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.listeners import Listener
    from overlayfs_py.containers.network_helper import Helper
    from overlayfs_py.mounts.children import Child
    from overlayfs_py.store.containers import ContainerRecord

_REST_S = 0.1  # before another process takes the place of one that was killed
_LONG_REST_S = 2.0  # where that cannot be
_NO_HELPER = (
    "--network private: needs pasta or slirp4netns: install the Debian package passt or slirp4netns"
)

log = logging.getLogger(__name__)


class Mode(Enum):
    """What `--network` may say."""

    HOST = "host"  # the host's own
    NONE = "none"  # loopback alone
    PRIVATE = "private"  # a network of its own, from which the host's is reached


_DOCKERS = {"bridge": Mode.PRIVATE, "default": Mode.PRIVATE}


def parse_mode(text: str) -> Mode:
    """Return what a name means.

    Raises:
        ValueError: there is no such network.
    """
    try:
        return _DOCKERS.get(text) or Mode(text)
    except ValueError:
        raise ValueError("there is no such network (host, none or private)") from None


def mode_for_ports() -> Mode:
    """Return what to use where ports are published, and no network is named."""
    from overlayfs_py.containers import network_helper

    return Mode.NONE if network_helper.find() is None else Mode.PRIVATE


class Network:
    """The network of one container that runs, from its start to its end."""

    def __init__(self, record: ContainerRecord, directory: Path, lock_fd: int) -> None:
        self.namespace_fd: int | None = None  # None: the host's
        self._mode = Mode(record.network)
        self._published = () if self._mode is Mode.HOST else record.ports
        self._lock_fd = lock_fd
        self._listeners: list[Listener] = []
        self._directory = directory
        # What ends with this process, by what starts another one.
        self._children: dict[Callable[[], Child], Child] = {}
        self._helper: Helper | None = None

    @property
    def names(self) -> Names:
        """What names mean there."""
        if self._mode is Mode.HOST:
            return Names()
        return Names(
            is_hosts_own=False,
            address=(*self._own_addresses(), "127.0.0.1")[0],
            resolver="" if self._helper is None else self._helper.resolver,
        )

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
        from overlayfs_py.containers import listeners, network_helper, network_namespace

        if self._mode is Mode.PRIVATE:
            self._helper = network_helper.find()
            if self._helper is None:
                raise Failure(_NO_HELPER)
        self._listeners = listeners.bind_all(self._published)
        self.namespace_fd = network_namespace.make(self._own_addresses())
        if self._listeners:
            self._children[self._forwarder] = self._forwarder()
        if self._helper is not None:
            self._children[self._connection] = self._connection()

    def watch(self, loop: EventLoop) -> None:
        """Let another process take the place of one that is killed.

        The sockets are here, too: clients wait meanwhile.
        """
        for begin in self._children:
            self._watch(loop, begin)

    def _watch(self, loop: EventLoop, begin: Callable[[], Child]) -> None:
        child = self._children[begin]
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            loop.forget(fd)
            os.close(fd)
            log.warning("a process of the container's network ended; another takes its place")
            child.wait()
            loop.call_later(_REST_S, again)

        def again() -> None:
            try:
                self._children[begin] = begin()
            except OSError as error:
                log.warning("%s", describe(error))
                loop.call_later(_LONG_REST_S, again)
            else:
                self._watch(loop, begin)

        loop.watch(fd, READABLE, ended)

    def close(self) -> None:
        for child in self._children.values():
            child.kill(signal.SIGKILL)
            child.wait()
        for listener in self._listeners:
            listener.sock.close()
        if self.namespace_fd is not None:
            os.close(self.namespace_fd)
            self.namespace_fd = None

    def _forwarder(self) -> Child:
        from overlayfs_py.containers import forwarder

        assert self.namespace_fd is not None
        return forwarder.start(self._listeners, self.namespace_fd, self._lock_fd)

    def _connection(self) -> Child:
        from overlayfs_py.containers import network_helper

        assert self.namespace_fd is not None
        assert self._helper is not None
        return network_helper.start(self._helper, self.namespace_fd, self._lock_fd, self._directory)

    def _own_addresses(self) -> tuple[str, ...]:
        """The one that servers are reached at, and the one that this is done from."""
        from overlayfs_py.containers import network_namespace

        if self._mode is not Mode.PRIVATE and not self._published:
            return ()
        return network_namespace.ADDRESS, network_namespace.GATEWAY
