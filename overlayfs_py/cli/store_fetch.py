"""`overlayfs-py store fetch`."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.registries import RegistryArguments, client_options
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.mounts.children import Report
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.store.locks import Lock
    from overlayfs_py.store.records import ComingSource
    from overlayfs_py.store.store import Store

_HELP = """Bring what is still to come of layers that were pulled with --lazy.

Mounts, containers and `pull --lazy` start it: there is one for each store, in the background, until
all layers are whole. It does what readers wait for first.

\b
Examples:
  overlayfs-py store fetch
  overlayfs-py store fetch --foreground
"""
LOCK = "lock"
_LONGEST_S = 10.0
_AGAIN_S = 0.05


@click.command("fetch", help=_HELP)
@root_option
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground.")
def command(root: Path | None, *, foreground: bool) -> None:
    store = open_store(root)
    lock = _lock_or_tell(store)
    if lock is None:
        return
    with lock:
        if foreground:
            _serve(store, lock, lambda: None)
        else:
            _start(store, lock)


def _start(store: Store, lock: Lock) -> None:
    """Serve in a process of its own; returns when it listens."""
    from overlayfs_py.mounts import children
    from overlayfs_py.mounts.daemon import log_to_syslog

    def work(report: Report) -> None:
        def ready() -> None:
            log_to_syslog()
            children.take_null_stdio()
            report.ready()

        os.setsid()
        os.chdir("/")
        _serve(store, lock, ready)

    children.start(work).ready()


def _serve(store: Store, lock: Lock, on_ready: Callable[[], None]) -> None:
    import trio

    from overlayfs_py.transfer.chunk_server import ChunkServer, listen

    os.ftruncate(lock.fd, 0)
    os.pwrite(lock.fd, f"{os.getpid()}\n".encode(), 0)  # for people
    with listen(os.fspath(store.coming)) as listener:
        server = ChunkServer(store, _options)
        on_ready()
        trio.run(server.run, listener)


def _options(source: ComingSource) -> ClientOptions:
    """What the machine says by now, and what the pull was told."""
    from pathlib import Path

    authfile = Path(source.authfile) if source.authfile else None
    cert_dir = Path(source.cert_dir) if source.cert_dir else None
    return client_options(RegistryArguments(authfile, cert_dir, source.tls_verify))


def _lock_or_tell(store: Store) -> Lock | None:
    """Become the one that serves, or tell the one that does to look again."""
    from overlayfs_py.packs.arrivals import SOCKET, Wanted
    from overlayfs_py.store import locks

    coming = store.coming
    deadline = time.monotonic() + _LONGEST_S
    while True:
        held = locks.try_acquire(coming / LOCK, locks.Mode.EXCLUSIVE)
        if held is not None:
            return held
        directory_fd = os.open(coming, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_LONGEST_S)
                sock.connect(f"/proc/self/fd/{directory_fd}/{SOCKET}")
                sock.sendall(Wanted("", 0, 0, again=False).line())
                if sock.recv(1):
                    return None
        except OSError as error:  # it is just beginning, or ending
            if time.monotonic() > deadline:
                raise Failure(f"{coming}: another process does not answer: {error}") from error
        finally:
            os.close(directory_fd)
        time.sleep(_AGAIN_S)
