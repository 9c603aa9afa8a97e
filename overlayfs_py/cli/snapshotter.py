"""`overlayfs-py snapshotter`."""

from __future__ import annotations

import importlib
import os
import re
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from overlayfs_py.backends.snapshot_mounts import MountWriter
    from overlayfs_py.backends.snapshot_places import SnapshotPlaces
    from overlayfs_py.backends.snapshotter import Snapshotter

_HELP = """Keep containerd's snapshots, and show them by mounts of ours.

Serves until SIGTERM, SIGINT or SIGHUP. Mounts and their daemons go on without it. Nothing that
containerd was told is lost where it is killed. docs/CONTAINERD.md says how to set up containerd.

\b
Examples:
  overlayfs-py snapshotter --address /run/overlayfs-py.sock --root /var/lib/overlayfs-py-snapshots
  overlayfs-py snapshotter --address ./s.sock --root ./s --layers pack
"""
_PROGRAM = "fuse-overlayfs-py"
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What would have to be escaped, once for us, once for the kernel and once for a shell.
_PLAIN = re.compile(r"[\w/.+@=-]+")


@click.command("snapshotter", help=_HELP)
@click.option(
    "--address",
    required=True,
    type=click.Path(path_type=Path),
    help="The socket that containerd connects to.",
)
@click.option(
    "--root",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where snapshots are kept.",
)
@click.option(
    "--layers",
    "form",
    type=click.Choice(["dir", "pack"]),
    default="dir",
    show_default=True,
    help="How committed snapshots are kept.",
)
@click.option(
    "--mounts",
    "style",
    type=click.Choice(["fuse", "kernel"]),
    default="fuse",
    show_default=True,
    help="fuse: mounts of ours. kernel: overlayfs, where it can show the same.",
)
@click.option(
    "--mount-program",
    "program",
    metavar="PATH|NAME",
    help=f"{_PROGRAM}, as containerd finds it; a name in its PATH.  [default: beside this command]",
)
def command(address: Path, root: Path, form: str, style: str, program: str | None) -> None:
    _require_grpc()
    from overlayfs_py.backends.snapshot_books import SnapshotBooks
    from overlayfs_py.backends.snapshot_places import SnapshotPlaces
    from overlayfs_py.backends.snapshotter import Snapshotter
    from overlayfs_py.store.records import Form

    places = SnapshotPlaces(_plain(root.absolute()))
    writer = _writer(places, style, program or os.fspath(_own_program()))
    _raise_limit()
    books = SnapshotBooks(places)
    try:
        _serve(Snapshotter(books, writer, Form(form)), address.absolute())
    finally:
        books.close()


def _require_grpc() -> None:
    try:
        for name in ("grpc", "google.protobuf"):
            importlib.import_module(name)
    except ModuleNotFoundError:
        what = "snapshotter: gRPC is not installed (pip install 'overlayfs-py[containerd]')"
        raise Failure(what) from None


def _plain(path: Path) -> Path:
    if _PLAIN.fullmatch(str(path)) is None:
        raise Failure(f"{path}: only letters, digits and /._+@=- may be in this path")
    return path


def _own_program() -> Path:
    return Path(sys.executable).parent / _PROGRAM


def _writer(places: SnapshotPlaces, style: str, program: str) -> MountWriter:
    from overlayfs_py.backends.snapshot_mounts import MountWriter, Style
    from overlayfs_py.syscalls.credentials import has_trusted_xattrs

    return MountWriter(places, _found(program), Style(style), writes_whiteouts=has_trusted_xattrs())


def _found(program: str) -> str:
    """Return a name as it is: where it leads is known to containerd alone; a path in full."""
    if "/" not in program:
        return str(_plain(Path(program)))
    if not os.path.exists(program):
        raise Failure(f"{program}: not there (see --mount-program)")
    return str(_plain(Path(program).absolute()))


def _raise_limit() -> None:
    """Let there be as many open files as may be: a deep tree needs one for each level."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve(snapshotter: Snapshotter, address: Path) -> None:
    import trio

    from overlayfs_py.backends import snapshot_service
    from overlayfs_py.transfer.failing import alone

    async def main() -> None:
        with trio.open_signal_receiver(*_ENDING) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(snapshotter.run)
                await nursery.start(snapshot_service.serve, snapshotter, address)
                _tell_systemd()
                async for _ in signals:
                    nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        raise alone(group) from group


def _tell_systemd() -> None:
    """Say that requests may come, where a service manager waits for that (sd_notify(3))."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(name.replace("@", "\0", 1) if name.startswith("@") else name)
            sock.send(b"READY=1")
