"""A build on one machine, and the next on another that knows nothing but a cache in a registry."""

from __future__ import annotations

import io
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.life.test_builds import Project, outcomes, project
from tests.support.cache_layout import CacheLayout
from tests.support.oci_layout import Layer, digest
from tests.transfer.registries import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.life.conftest import Engine
    from tests.support.cache_layout import Json
    from tests.support.docker_registry import DockerRegistry

__all__ = ["project", "registry"]

_APP = """\
FROM small:1 AS build
RUN head -c 300000 /dev/urandom > /tools
COPY source /src/
RUN --mount=type=cache,target=/cache,id=mine{0},mode=0750 \\
    cp /src/source /cache/$(cat /src/source); ls /cache; stat -c %u:%a /cache; cp /src/source /made
FROM small:1
RUN head -c 100000 /dev/urandom > /runtime
COPY --from=build /made /made
CMD ["cat", "/made"]
"""


@pytest.fixture
def elsewhere(engine: Engine) -> Iterator[str]:
    """The root of another store, that of another machine; the image `small:1` is there."""
    root = engine.directory / "elsewhere"
    engine("import", "--root", root, "-c", 'CMD ["sh"]', engine.directory / "small.tar", "small:1")
    yield str(root)
    engine("builder", "prune", "--root", root, "-af")
    shutil.rmtree(root)


def test_a_cache_goes_from_machine_to_machine(
    project: Project, engine: Engine, registry: DockerRegistry, elsewhere: str
) -> None:
    name = "user" if engine.is_user else "root"
    ref = f"{registry.domain}/team/{name}:cache"
    options = ("-t", "ci:1", "--tls-verify=false")
    out = f"--cache-to=type=registry,ref={ref},mode=max,mounts=all"
    owner = 0 if engine.is_user else 33  # which may have only one
    project.write("Dockerfile", _APP.replace("{0}", f",uid={owner}"))
    project.write("source", "one")
    home = str(engine.directory)  # where an ordinary user has logins, and no other user
    project.build(*options, out, XDG_RUNTIME_DIR=home)
    again = project.build(*options, out, XDG_RUNTIME_DIR=home)
    # RUN and COPY have made the same layer of /made.
    assert f"cache to {ref}: 5 steps, 4 layers, 1 cache mount; 0B written" in "\n".join(again)

    before = registry.bytes_of_blobs()
    fresh = (*options, "--root", elsewhere)
    lines = project.build(*fresh, "--cache-from", ref, XDG_RUNTIME_DIR=home)
    assert len([line for line in lines if line.endswith(f" CACHED in {ref}")]) == 5
    assert any(line.startswith(f"cache of {ref}: 2 layers fetched, 100.") for line in lines)
    assert registry.bytes_of_blobs() - before < 120_000  # nothing of the other stage

    project.write("source", "two")
    source = f"--cache-from=type=registry,ref={ref}"
    lines = project.build(*fresh, source, XDG_RUNTIME_DIR=home)
    assert len([line for line in lines if line.endswith(f" CACHED in {ref}")]) == 2
    why = [each.removeprefix("not cached: ") for each in outcomes(lines).values()]
    assert why[0].startswith("source: content (compared with the build of 20")
    assert why[1] == "it follows [build 3/4]"
    assert why[2].startswith("made: content (compared with")
    shown = [line.split()[-1] for line in lines if line.startswith("#")]
    assert [each for each in shown if each in {"one", "two", f"{owner}:750"}] == [
        "one",
        "two",
        f"{owner}:750",
    ]
    assert engine("run", "--rm", "--root", elsewhere, "ci:1") == "two"


@pytest.mark.parametrize("_engine", ["root"], indirect=True)
def test_a_local_cache_mount_stays_and_others_are_not_given_away(
    project: Project, engine: Engine, elsewhere: str
) -> None:
    cache = project.directory.parent / "cache"
    out, back = f"--cache-to=type=local,dest={cache}", f"--cache-from=type=local,src={cache}"
    text = "FROM small:1\nRUN --mount=type=cache,target=/c,id=own ls /c; echo {0} > /c/{0}\n"
    project.write("Dockerfile", text.format("first"))
    lines = project.build(out)
    assert any("cache mount own is not exported (who can read" in line for line in lines)
    assert CacheLayout(cache).config["mounts"] == []
    lines = project.build(f"{out},mount=own,mount-size=3b")
    assert any("own is not exported: 6B, more than 3B (mount-size=" in line for line in lines)
    project.build(f"{out},mount=own")

    project.write("Dockerfile", text.format("second"))
    project.build("--root", elsewhere)
    project.write("Dockerfile", text.format("third"))
    lines = project.build("--root", elsewhere, back)

    assert any("cache mount own: what is here is kept, not that of" in line for line in lines)
    assert any(line.endswith(" second") for line in lines)
    assert not any(line.endswith(" first") for line in lines)


def _device() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("_engine", ["root"], indirect=True)
def test_a_hostile_cache_mount_begins_empty(project: Project, engine: Engine) -> None:
    cache = project.directory.parent / "cache"
    project.write(
        "Dockerfile",
        "FROM small:1\nRUN --mount=type=cache,target=/c,id=hostile echo 1 > /c/1; ls /c\n",
    )
    project.build(f"--cache-to=type=local,dest={cache},mounts=all")
    layout = CacheLayout(cache)

    def give(tar: bytes) -> list[str]:
        def change(manifest: Json, config: Json) -> None:
            blob = Layer(tar, tar)
            config["layers"][-1] = config["mounts"][0]["layer"] = digest(tar)
            config["steps"] = []
            manifest["layers"][len(config["layers"]) - 1] = {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layout.put(blob.blob),
                "size": len(blob.blob),
            }

        layout.rewrite(change)
        engine("builder", "prune", "-af")
        return project.build("--no-cache", f"--cache-from=type=local,src={cache}")

    lines = give(_device())

    (told,) = [line for line in lines if "cache mount hostile begins empty" in line]
    assert told.endswith("cache mount: null in it is no file")
    assert "1" in [line.split()[-1] for line in lines if line.startswith("#")]
