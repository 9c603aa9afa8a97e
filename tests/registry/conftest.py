from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.http_server import Handler, HttpServer, http_server

if TYPE_CHECKING:
    from collections.abc import Iterator


class Serve(Protocol):
    """Starts a server that lives as long as the test."""

    def __call__(self, handler: Handler) -> HttpServer: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:
        yield lambda handler: servers.enter_context(http_server(handler))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A real registry that lets everyone in, without TLS."""
    with docker_registry(tmp_path_factory.mktemp("registry") / "plain") as running:
        yield running
