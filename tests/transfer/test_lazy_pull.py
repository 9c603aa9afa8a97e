"""Images whose layers come when they are read, from a real registry."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from overlayfs_py.packs.arrivals import HEAD
from overlayfs_py.packs.pack import Pack
from tests.support.http_server import HANG_UP, Reply, Request
from tests.support.oci_layout import digest
from tests.system.processes import wait_until
from tests.transfer.lazy_images import (
    BASE,
    FILES,
    NAME,
    SMALL,
    TOP,
    Between,
    LazyImage,
    coming_pack,
    pulled,
    range_of,
    read,
    spoiled,
    start_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.docker_registry import DockerRegistry
    from tests.transfer.registries import Ours


def only_indexes() -> Callable[[Request, Callable[[], Reply]], Reply]:
    """No chunk comes."""
    return lambda request, answer: spoiled(request, answer, lambda _: HANG_UP)


def is_whole(ours: Ours, layer: bytes) -> bool:
    return (ours.root / "layers" / digest(layer)[7:] / "layer.json").exists()


def test_packs_lie_beside_the_image(lazy_image: LazyImage, registry: DockerRegistry) -> None:
    name = f"{registry.domain}/{NAME}"

    again = lazy_image.whole(
        "push", "--root", lazy_image.whole.root, "--tls-verify=false", "--packs", name
    )

    assert again.count("Layer already exists") == 4  # layers, and packs
    listed = lazy_image.whole.store.image(name).manifest.digest.replace(":", "-")
    assert f"/v2/lazy/app/manifests/{listed}" in [served.path for served in registry.served()]


def test_a_lazy_pull_brings_the_index_alone_and_the_rest_follows(
    lazy_image: LazyImage, tmp_path: Path
) -> None:
    between = Between(lazy_image.registry.domain, only_indexes())
    with pulled(lazy_image, tmp_path / "home", between=between) as (ours, server, _):
        name = f"{server.domain}/{NAME}"
        whole = sum(map(len, FILES.values()))
        assert not is_whole(ours, BASE.tar)
        assert coming_pack(ours).stat().st_blocks * 512 < whole / 10
        assert ours.store.image(name).size == lazy_image.whole.store.images()[0].size
        assert list(ours.store.check(deep=True)) == []

        between.trouble = lambda _, answer: answer()
        many = ours("image", "cat", "--root", ours.root, name, "etc/many")
        assert many.encode() == SMALL["etc/many"]
        wait_until(lambda: is_whole(ours, BASE.tar) and is_whole(ours, TOP.tar), "all of it")

        assert list(ours.store.check(deep=True)) == []
        assert ours.store.image(name).coming == ()
        assert "Already exists" in ours.pull(name)
        ours("store", "prune", "--root", ours.root)
        wait_until(lambda: not coming_pack(ours).exists(), "the other name of the pack to go")


def test_what_a_crash_left_unwritten_comes_again(lazy_image: LazyImage, tmp_path: Path) -> None:
    between = Between(lazy_image.registry.domain, only_indexes())
    with pulled(lazy_image, tmp_path / "home", "--read-timeout", "10s", between=between) as (
        ours,
        _,
        _,
    ):
        path = coming_pack(ours)
        with Pack(os.fsencode(path)) as pack:
            with (path.parent / "layer.here").open("r+b") as here:
                here.seek(HEAD.size)
                here.write(b"\1" * pack.index.chunks)
            between.trouble = lambda _, answer: answer()

            assert read(pack, "data/03") == FILES["data/03"]


def test_who_brings_chunks_is_started_again(lazy_image: LazyImage, tmp_path: Path) -> None:
    between = Between(lazy_image.registry.domain, only_indexes())
    lazily = pulled(lazy_image, tmp_path / "home", "--read-timeout", "20s", between=between)
    with lazily as (ours, _, _), Pack(os.fsencode(coming_pack(ours))) as pack:
        os.kill(int((ours.root / "coming/lock").read_text()), signal.SIGKILL)
        between.trouble = lambda _, answer: answer()

        assert read(pack, "data/07") == FILES["data/07"]


def test_what_a_first_run_has_read_comes_first(lazy_image: LazyImage, tmp_path: Path) -> None:
    whole, domain = lazy_image.whole, lazy_image.registry.domain
    used = tmp_path / "used.json"
    uses = [("/data/05", ["look", "read"]), ("/data/01", ["look"]), ("/data/nothing", ["read"])]
    lines = [{"path": path, "kinds": kinds, "exact": True} for path, kinds in uses]
    used.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = ("--tls-verify=false", "--packs", "--order", used)
    whole("push", "--root", whole.root, *told, f"{domain}/{NAME}", f"{domain}/ordered/app:1")
    starts: list[int] = []

    def note(request: Request, answer: Callable[[], Reply]) -> Reply:
        def noted(reply: Reply) -> Reply:
            wanted = range_of(request)
            assert wanted is not None
            starts.append(wanted.start)
            return reply

        return spoiled(request, answer, noted)

    between = Between(domain, note)
    lazily = pulled(lazy_image, tmp_path / "home", between=between, name="ordered/app:1")
    with lazily as (ours, _, _):
        source = json.loads(coming_pack(ours).with_name("source.json").read_text())
        with Pack(os.fsencode(coming_pack(ours))) as pack:
            start = start_of(pack, "data/05")
            assert pack.index.chunk(source["order"][0])[0] == start
        assert len(source["order"]) == 4
        wait_until(lambda: len(starts) > 1, "the first chunks", seconds=20)
        assert min(starts[:2]) == start  # two requests at once: either may be the first to arrive
