"""One context, one digest: whoever builds, wherever, with whatever umask and order of names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds.fingerprint import fingerprint
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.selection import select
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import recorded_tar
from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.builds.building import Build, layer_of, let_all_reach
from tests.builds.copy_cases import BASE
from tests.support.trees import Dir, File, HardLink, Node, Symlink, build
from tests.support.users import ALICE, errno_as

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTEXT: dict[str, Node] = {
    "": Dir(mtime_ns=5),
    **{f"f{at}": File(b"%d" % at, mtime_ns=10**18 + at) for at in range(30)},
    "s": File(mode=0o6755),
    "d": Dir(mode=0o2775),
    "d/h1": File(b"h", size=100_000),
    "d/h2": HardLink("d/h1"),
    "l": Symlink("f1"),
}
EPOCH_NS = 1_700_000_000 * 10**9
STEPS = ("COPY . /app/", "COPY --chown=ann d /d", "ADD f1 s /n/", "WORKDIR /w/x")


def digests(place: Path, context: Path, base: Path) -> list[str]:
    """The digests of some steps, in a store of one's own, and of their files."""
    store = Store.open(place)
    with store.add() as addition:
        built = Build(store, addition, context, (layer_of(addition, base),), latest_ns=EPOCH_NS)
        found: list[str] = [built.run(step).diff_id for step in STEPS]
    with HostContext(bytes(context)) as files:
        return [*found, fingerprint(select(files, ["."])).digest]


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    build(tmp_path / "base", BASE)
    build(tmp_path / "context", CONTEXT)
    # What an ordinary user can read, too.
    (tmp_path / "base" / "private").chmod(0o755)
    let_all_reach(tmp_path)
    return tmp_path


@pytest.fixture
def expected(trees: Path) -> list[str]:
    return digests(trees / "store", trees / "context", trees / "base")


def test_elsewhere_in_another_order(trees: Path, expected: list[str]) -> None:
    again = trees / "again"
    again.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(again), b"tmpfs", 0, b"size=32m")
    try:
        linked = {"d/h1": CONTEXT["d/h1"], "d/h2": CONTEXT["d/h2"]}
        rest = {path: node for path, node in reversed(CONTEXT.items()) if path not in linked}
        build(again / "c", rest | linked)
        old = os.umask(0o027)
        try:
            assert digests(again / "store", again / "c", trees / "base") == expected
        finally:
            os.umask(old)
    finally:
        mounts.umount(os.fsencode(again), mounts.MNT_DETACH)


def _require(expected: list[str], call: Callable[[], list[str]]) -> Callable[[], None]:
    def compare() -> None:
        if call() != expected:
            raise OSError(77, "another digest")

    return compare


def test_as_an_ordinary_user(trees: Path, expected: list[str]) -> None:
    store = trees / "hers"
    store.mkdir()
    os.chown(store, ALICE, ALICE)

    def build_as_user() -> list[str]:
        return digests(store / "s", trees / "context", trees / "base")

    assert errno_as(ALICE, _require(expected, build_as_user)) == 0


def test_no_time_is_later_than_asked(trees: Path) -> None:
    store = Store.open(trees / "store2")
    with store.add() as addition:
        layer = Build(store, addition, trees / "context", latest_ns=EPOCH_NS).run(STEPS[0])
        with Pack(layer.path) as pack:
            data = b"".join(bytes(piece) for piece in recorded_tar(pack))

    times = {int(data[at + 136 : at + 147], 8) for at in _headers(data)}
    assert max(times) == EPOCH_NS // 10**9
    assert min(times) == 5 or 10**9 in times


def _headers(data: bytes) -> list[int]:
    found, at = [], 0
    while data[at : at + 1] != b"\0":
        found.append(at)
        size = int(data[at + 124 : at + 135], 8)
        at += 512 + -(-size // 512) * 512
    return found
