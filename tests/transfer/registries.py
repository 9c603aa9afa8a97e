"""Our commands with a store of their own, and registries for them."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.http_server import http_server
from tests.system.processes import Word, attempt, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.registry.conftest import Serve

PROGRAM = Path(sys.executable).parent / "overlayfs-py"


@dataclass(frozen=True, slots=True)
class Ours:
    """Our commands with a store and a home of their own."""

    home: Path

    @property
    def root(self) -> Path:
        return self.home / "store"

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    @property
    def environment(self) -> dict[str, str]:
        runtime = str(self.home / "run")
        return {"HOME": str(self.home), "XDG_RUNTIME_DIR": runtime, "PATH": "/usr/bin"}

    def __call__(self, *words: Word) -> str:
        return run([PROGRAM, *words], env=self.environment)

    def attempt(self, *words: Word) -> subprocess.CompletedProcess[str]:
        return attempt([PROGRAM, *words], env=self.environment)

    def pull(self, name: str, *options: Word) -> str:
        return self("pull", "--root", self.root, "--tls-verify=false", *options, name)

    def fails_to_pull(self, name: str, *options: Word) -> tuple[int, str]:
        """The exit code and the one line on stderr."""
        done = self.attempt("pull", "--root", self.root, "--tls-verify=false", *options, name)
        assert done.returncode != 0
        assert done.stderr.startswith("overlayfs-py: ")
        assert done.stderr.count("\n") == 1
        return done.returncode, done.stderr.removeprefix("overlayfs-py: ").strip()


@pytest.fixture
def ours(tmp_path: Path) -> Ours:
    (tmp_path / "home").mkdir()
    return Ours(tmp_path / "home")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A real registry that lets everyone in, without TLS."""
    with docker_registry(tmp_path_factory.mktemp("registry") / "plain") as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:
        yield lambda handler: servers.enter_context(http_server(handler))
