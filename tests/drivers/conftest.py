from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.drivers.serving import Daemon, Stack, serving, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="overlayfs-drivers-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(params=["direct", "pyfuse3"])
def stack(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Directories for a union, and the driver to serve it with: each test runs with both."""
    with_driver.set(request.param)
    yield Stack(scratch)
    # Tests of one driver alone, which come next, count on the default.
    with_driver.set("auto")


@pytest.fixture
def mount(stack: Stack) -> Iterator[Path]:
    """An empty union, mounted; a test that wants layers fills `stack.lower` and uses `serving`."""
    with serving(stack.spec, stack.plan) as daemon:
        yield daemon.target


@pytest.fixture
def daemon(stack: Stack) -> Iterator[Daemon]:
    with serving(stack.spec, stack.plan) as served:
        yield served
