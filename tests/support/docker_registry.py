"""The real registry, Debian's docker-registry, on loopback with a configuration of our own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d+) (?P<bytes>\d+)')
_START_SECONDS = 20


class Served(NamedTuple):
    """One request, as the registry's access log has it."""

    method: str
    path: str
    status: int
    size: int  # bytes of the body that the registry wrote


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A registry that runs."""

    domain: str
    directory: Path

    def served(self) -> list[Served]:
        """Everything that was asked of it so far."""
        log = (self.directory / "access.log").read_text()
        return [
            Served(found["method"], found["path"], int(found["status"]), int(found["bytes"]))
            for found in _LINE.finditer(log)
        ]

    def bytes_of_blobs(self) -> int:
        """How many bytes of blobs it sent so far."""
        return sum(
            line.size for line in self.served() if line.method == "GET" and "/blobs/" in line.path
        )


@contextmanager
def docker_registry(
    directory: Path,
    *,
    auth: Mapping[str, object] | None = None,
    tls: Mapping[str, object] | None = None,
) -> Iterator[DockerRegistry]:
    """Run a registry that keeps everything in `directory`, on a free port."""
    directory.mkdir()
    port = _free_port()
    configuration: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}", **({} if tls is None else {"tls": dict(tls)})},
        **({} if auth is None else {"auth": dict(auth)}),
    }
    file = directory / "registry.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    with (
        (directory / "access.log").open("wb") as access_log,
        (directory / "error.log").open("wb") as error_log,
        subprocess.Popen(
            ["docker-registry", "serve", file], stdout=access_log, stderr=error_log
        ) as process,
    ):
        try:
            _wait_for_port(port, process, directory)
            yield DockerRegistry(f"127.0.0.1:{port}", directory)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for_port(port: int, process: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, (directory / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.01)
        else:
            return
