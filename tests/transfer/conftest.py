from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from tests.support.images import Podman, podman_of_its_own
from tests.system.processes import run
from tests.transfer.lazy_images import LazyImage, push
from tests.transfer.registries import ours, registry, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.docker_registry import DockerRegistry

_BASE = """FROM scratch
COPY one /etc/one
COPY two /etc/two
"""
_APP = """FROM localhost/base:1
COPY three /srv/three
ENV LANG=C
CMD ["/bin/app"]
"""
FILES = {"one": "1\n", "two": "22\n", "three": "333\n"}


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with two images, `base:1` and on top of it `app:1`."""
    with podman_of_its_own() as engine:
        engine.build("localhost/base:1", _BASE, **FILES)
        engine.build("localhost/app:1", _APP, **FILES)
        yield engine


@pytest.fixture(scope="session")
def archives(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`app:1` as every program here writes it."""
    base = tmp_path_factory.mktemp("archives")
    made = {name: base / name for name in ("docker", "oci", "both", "gz", "layout", "skopeo")}
    podman.run("save", "-q", "-o", f"{made['docker']}", "localhost/app:1")
    podman.run("save", "-q", "--format=oci-archive", "-o", f"{made['oci']}", "localhost/app:1")
    images = ("localhost/app:1", "localhost/base:1")
    podman.run("save", "-q", "-m", "-o", f"{made['both']}", *images)
    run(["sh", "-c", f"gzip -1 < {made['docker']} > {made['gz']}"])
    run(["skopeo", "copy", "-q", f"oci-archive:{made['oci']}", f"oci:{made['layout']}:app"])
    source, name = f"oci:{made['layout']}:app", "localhost/app:1"
    run(["skopeo", "copy", "-q", source, f"docker-archive:{made['skopeo']}:{name}"])
    return made


@pytest.fixture(scope="session")
def lazy_image(registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> LazyImage:
    """An image in the registry that was pushed with its packs."""
    return push(registry, tmp_path_factory.mktemp("lazy") / "whole")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


__all__ = ["archives", "ours", "podman", "registry", "serve", "store"]
