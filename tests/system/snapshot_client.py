"""A client of the snapshotter's socket, and its mounts made as containerd makes them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from overlayfs_py.backends.snapshot_messages import METHODS, SERVICE, message
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DEADLINE_S = 30.0
_COMMAND = Path(sys.executable).parent / "overlayfs-py"


class Client:
    """Every call of the service, by its name in lower case; fields are given by name."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(
            f"unix:{socket}", options=[("grpc.initial_reconnect_backoff_ms", 100)]
        )

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, **fields: object):  # noqa: ANN201
        form = METHODS[method]
        kind = self._channel.unary_stream if form.stream else self._channel.unary_unary
        call = kind(
            f"/{SERVICE}/{method}",
            request_serializer=message(form.request).SerializeToString,
            response_deserializer=message(form.response).FromString,
        )
        request = message(form.request)(**fields)
        return call(request, timeout=_DEADLINE_S, wait_for_ready=True)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> list:
        return list(self.call("Prepare", key=key, parent=parent, labels=labels or {}).mounts)

    def view(self, key: str, parent: str = "") -> list:
        return list(self.call("View", key=key, parent=parent).mounts)

    def commit(
        self, name: str, key: str, parent: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        self.call("Commit", name=name, key=key, parent=parent, labels=labels or {})

    def remove(self, key: str) -> None:
        self.call("Remove", key=key)

    def stat(self, key: str):  # noqa: ANN201
        return self.call("Stat", key=key).info

    def names(self, *filters: str) -> list[str]:
        answers = self.call("List", filters=filters)
        return [info.name for answer in answers for info in answer.info]


@dataclass
class Server:
    """A snapshotter that runs."""

    process: subprocess.Popen[bytes]
    client: Client
    root: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(base: Path, *options: str, says: str = "") -> Iterator[Server]:
    """Serve snapshots below `base` for as long as the block runs; it must say that, and no more."""
    socket, root = base / "sock", base / "root"
    with subprocess.Popen(
        [_COMMAND, "snapshotter", "--address", socket, "--root", root, *options],
        stderr=subprocess.PIPE,
    ) as process:
        client = Client(socket)
        try:
            client.call("Cleanup")
            yield Server(process, client, root)
        finally:
            client.close()
            process.terminate()
            _, words = process.communicate(timeout=_DEADLINE_S)
    assert says in words.decode()
    assert words.count(b"\n") == bool(says), words.decode()


def mount_all(mounts: Sequence, target: Path) -> None:
    """Mount what the snapshotter has answered, as containerd's core/mount does."""
    for mount in mounts:
        helper, dot, kind = mount.type.partition(".")
        options = [word for option in mount.options for word in ("-o", option)]
        if dot:
            run([f"mount.{helper}", mount.source, target, *options, "-t", kind])
        else:
            run(["mount", "-t", mount.type, mount.source, target, *options])


@contextmanager
def mounted(mounts: Sequence, target: Path) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    mount_all(mounts, target)
    try:
        yield target
    finally:
        run(["umount", target])
