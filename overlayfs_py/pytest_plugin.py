"""Fixtures for pytest: an image's root directory, and containers. docs/TESTING.md has examples.

pytest loads this module in every run on a machine that has us, so it imports nothing of ours until
a fixture is used.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from overlayfs_py.api import Container, MountedImage, Store

    Run = Callable[..., Container]

_NOT_IN_STORE = 31
_NO_IMAGE = "{}: no image: mark the test with pytest.mark.image(NAME), or set overlayfs_image"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings that fixtures read."""
    group = parser.getgroup("overlayfs-py", "images and containers")
    group.addoption("--overlayfs-store", metavar="DIR", help="The store that images are from.")
    parser.addini("overlayfs_store", "The store that images are from.")
    parser.addini("overlayfs_image", "The image of tests that are not marked with one.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "image(name, command=..., **options): the image of `rootfs` and `container`; command and "
        "options are those of overlayfs_py.run",
    )


@pytest.fixture(scope="session")
def overlayfs_store(pytestconfig: pytest.Config) -> Store:
    """The store that images are from: --overlayfs-store, the ini file's, or the user's own."""
    from overlayfs_py.api import Store, environment

    root = pytestconfig.getoption("--overlayfs-store") or pytestconfig.getini("overlayfs_store")
    return Store.open(root or environment.default_root())


@pytest.fixture(scope="session")
def _overlayfs_roots(overlayfs_store: Store) -> Iterator[Roots]:
    with ExitStack() as held:
        yield Roots(overlayfs_store, held)


@pytest.fixture
def rootfs(request: pytest.FixtureRequest, _overlayfs_roots: Roots) -> Path:
    """The root directory of the marked image, writable, in each test as the image has it."""
    name, _ = _asked(request)
    return _overlayfs_roots.fresh(name)


@pytest.fixture
def container(request: pytest.FixtureRequest, run_container: Run) -> Container:
    """A container of the marked image, which runs until the test ends."""
    name, options = _asked(request)
    return run_container(name, **options)


@pytest.fixture
def run_container(overlayfs_store: Store) -> Iterator[Run]:
    """`overlayfs_py.run`; what it starts is removed when the test ends."""
    yield from _runner(overlayfs_store)


@pytest.fixture(scope="module")
def run_module_container(overlayfs_store: Store) -> Iterator[Run]:
    """The same for containers that all tests of a module share."""
    yield from _runner(overlayfs_store)


@pytest.fixture(scope="session")
def run_session_container(overlayfs_store: Store) -> Iterator[Run]:
    """The same for containers that live as long as pytest, or its worker."""
    yield from _runner(overlayfs_store)


class Roots:
    """The images that tests had mounted so far; each stays mounted for the next."""

    def __init__(self, store: Store, held: ExitStack) -> None:
        self._store = store
        self._held = held
        self._mounted: dict[str, MountedImage] = {}

    def fresh(self, name: str) -> Path:
        """Mount an image, or throw away what the test before changed."""
        mounted = self._mounted.get(name)
        if mounted is None:
            mounted = self._mounted[name] = self._held.enter_context(self._mount(name))
        else:
            mounted.reset()
        return mounted.path

    def _mount(self, name: str) -> MountedImage:
        from overlayfs_py.api import MountedImage, OverlayError, programs

        try:
            return MountedImage(self._store, name, writable=True)
        except OverlayError as error:
            if error.exit_code != _NOT_IN_STORE:
                raise
        programs.run_command("pull", f"--root={self._store.root}", "--", name)
        return MountedImage(self._store, name, writable=True)


def _runner(store: Store) -> Iterator[Run]:
    from overlayfs_py.api import run

    with ExitStack() as held:

        def start(*words: Any, **options: Any) -> Container:  # noqa: ANN401 - those of run
            return held.enter_context(run(*words, **{"store": store, **options}))

        yield start


def _asked(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    marker = request.node.get_closest_marker("image")
    default = request.config.getini("overlayfs_image")
    if marker is None:
        if not default:
            pytest.fail(_NO_IMAGE.format(request.fixturename), pytrace=False)
        return default, {}
    if len(marker.args) > 1 or not (marker.args or default):
        pytest.fail("pytest.mark.image takes one name; options have names", pytrace=False)
    return (marker.args or (default,))[0], dict(marker.kwargs)
