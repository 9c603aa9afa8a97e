from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds.contents import Digests
from overlayfs_py.builds.fingerprint import Fingerprint, difference, fingerprint
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.layers_context import LayersContext
from overlayfs_py.builds.modes import AS_IT_IS, Mode, parse_mode
from overlayfs_py.builds.selection import select
from overlayfs_py.builds.stat_cache import StatCache
from overlayfs_py.store.store import Store
from tests.builds.building import layer_of
from tests.support.trees import Dir, File, HardLink, Node, Symlink, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE_S = 20

TREE: dict[str, Node] = {
    "d": Dir(mode=0o750),
    "d/x": File(b"x", mode=0o640, xattrs={"user.a": b"1"}),
    "d/y": File(b"y"),
    "d/z": HardLink("d/y"),
    "e": Dir(),
    "l": Symlink("d/x"),
}


def of(
    place: Path,
    *sources: str,
    mode: Mode = AS_IT_IS,
    owned: bool = False,
    stats: StatCache | None = None,
) -> Fingerprint:
    with HostContext(bytes(place)) as context:
        return fingerprint(select(context, sources or ["."]), mode=mode, owned=owned, stats=stats)


def test_the_same_files_elsewhere_are_the_same(tmp_path: Path) -> None:
    build(tmp_path / "one", TREE)
    reverse = {path: node for path, node in reversed(TREE.items()) if path != "d/z"}
    build(tmp_path / "two", reverse | {"d/z": HardLink("d/y")})
    os.utime(tmp_path / "two" / "d" / "x", (1, 1))
    os.chown(tmp_path / "two" / "d" / "x", 12, 13)

    one, two = of(tmp_path / "one"), of(tmp_path / "two")

    assert one.digest == two.digest
    assert difference(one.table(), two.table()) is None


def _write(path: str, data: bytes) -> Callable[[Path], object]:
    return lambda place: (place / path).write_bytes(data)


CHANGES: dict[str, Callable[[Path], object]] = {
    "d/x: content": _write("d/x", b"X"),
    "d/x: mode 600, was 640": lambda place: (place / "d/x").chmod(0o600),
    "d/x: xattrs": lambda place: os.setxattr(place / "d/x", "user.a", b"2"),
    "d: mode 700, was 750": lambda place: (place / "d").chmod(0o700),
    "new: new": _write("new", b""),
    "e: gone": lambda place: (place / "e").rmdir(),
    "e: link, was directory": lambda place: [
        (place / "e").rmdir(),
        (place / "e").symlink_to("d"),
    ],
    "l: target": lambda place: [(place / "l").unlink(), (place / "l").symlink_to("d/y")],
    "d/z: hard links": lambda place: [(place / "d/z").unlink(), (place / "d/z").write_bytes(b"y")],
}


@pytest.mark.parametrize("told", CHANGES)
def test_a_change_is_told_by_its_path(tmp_path: Path, told: str) -> None:
    build(tmp_path, TREE)
    before = of(tmp_path)

    CHANGES[told](tmp_path)
    after = of(tmp_path)

    assert before.digest != after.digest
    assert difference(before.table(), after.table()) == told


def test_what_an_option_decides_does_not_count(tmp_path: Path) -> None:
    build(tmp_path, TREE)
    octal = parse_mode("600")
    before = of(tmp_path, mode=octal)
    symbolic = of(tmp_path, mode=parse_mode("u+x"))

    (tmp_path / "d/x").chmod(0o777)

    assert of(tmp_path, mode=octal).digest == before.digest
    assert of(tmp_path, mode=parse_mode("u+x")).digest != symbolic.digest


def test_owners_of_a_stage_count(tmp_path: Path) -> None:
    build(tmp_path / "one", {"x": File(uid=1)})
    build(tmp_path / "two", {"x": File(uid=2)})
    found = []
    with Store.open(tmp_path / "store").add() as addition:
        for name in ("one", "two"):
            with LayersContext((layer_of(addition, tmp_path / name),), name) as context:
                selected = select(context, ["x"])
                found.append((fingerprint(selected), fingerprint(selected, owned=True)))

    (one, owned_one), (two, owned_two) = found
    assert difference(one.table(), two.table()) == "x: owner 2:0, was 1:0"
    assert owned_one.digest == owned_two.digest


def test_names_are_framed(tmp_path: Path) -> None:
    build(tmp_path / "one", {"a": File(b"bc"), "d": File()})
    build(tmp_path / "two", {"ab": File(b"c"), "d": File()})

    assert of(tmp_path / "one").digest != of(tmp_path / "two").digest


def test_a_table_of_another_version_tells_nothing(tmp_path: Path) -> None:
    build(tmp_path, TREE)

    assert difference(b"", of(tmp_path).table()) is None
    assert difference(b"\x92\x07\x90", of(tmp_path).table()) is None


# The stat cache.


@pytest.fixture
def at_rest(tmp_path: Path) -> Path:
    """Files that have not changed for a while."""
    place = tmp_path / "tree"
    build(place, TREE)
    until = time.monotonic() + _PATIENCE_S
    with HostContext(bytes(place)) as context:
        item = select(context, ["d/x"])[0].source
        while not context.is_at_rest(item, time.time_ns()):
            assert time.monotonic() < until
            time.sleep(0.01)
    return place


def cache(tmp_path: Path, place: Path) -> StatCache:
    with HostContext(bytes(place)) as context:
        return StatCache(tmp_path / "stats", context.stats_name)


def learn(tmp_path: Path, place: Path) -> Fingerprint:
    stats = cache(tmp_path, place)
    found = of(place, stats=stats)
    stats.save()
    return found


def knows(tmp_path: Path, place: Path, path: str) -> Digests | None:
    with HostContext(bytes(place)) as context:
        item = select(context, [path])[0].source
        return cache(tmp_path, place).find(item.path, context.stamp(item))


def test_a_file_that_has_not_changed_is_known(tmp_path: Path, at_rest: Path) -> None:
    first = learn(tmp_path, at_rest)

    assert knows(tmp_path, at_rest, "d/x") is not None
    assert learn(tmp_path, at_rest).digest == first.digest == of(at_rest).digest


def test_what_is_known_is_not_read(tmp_path: Path, at_rest: Path) -> None:
    learn(tmp_path, at_rest)
    stats = cache(tmp_path, at_rest)
    with HostContext(bytes(at_rest)) as context:
        item = select(context, ["d/x"])[0].source
        stats.put(item.path, context.stamp(item), Digests(b"as the cache says", b""))
        found = fingerprint(select(context, ["d/x"]), stats=stats)

    assert found.rows[0].content == b"as the cache says"


CLEVER: dict[str, Callable[[Path], object]] = {
    "another of the same size and time": lambda path: [
        path.write_bytes(b"X"),
        os.utime(path, ns=(5, 5)),
    ],
    "renamed over it": lambda path: [
        path.with_name("n").write_bytes(b"X"),
        os.utime(path.with_name("n"), ns=(5, 5)),
        path.with_name("n").rename(path),
    ],
    "an xattr": lambda path: os.setxattr(path, "user.b", b"2"),
}


@pytest.mark.parametrize("how", CLEVER)
def test_no_change_keeps_a_stamp(tmp_path: Path, at_rest: Path, how: str) -> None:
    os.utime(at_rest / "d/x", ns=(5, 5))
    before = learn(tmp_path, at_rest)

    CLEVER[how](at_rest / "d/x")

    assert knows(tmp_path, at_rest, "d/x") is None
    assert learn(tmp_path, at_rest).digest == of(at_rest).digest != before.digest


def test_a_file_that_changed_just_now_is_not_taken(tmp_path: Path, at_rest: Path) -> None:
    """Another change within the clock's tick might leave its stamp as it is."""
    (at_rest / "d/x").write_bytes(b"X")

    learn(tmp_path, at_rest)

    assert knows(tmp_path, at_rest, "d/y") is not None
    assert knows(tmp_path, at_rest, "d/x") is None


def test_files_that_have_gone_are_forgotten(tmp_path: Path, at_rest: Path) -> None:
    stats = cache(tmp_path, at_rest)
    for at in range(11_000):
        stats.put((b"%d" % at,), (1,), Digests(b"", b""))
    stats.save()

    learn(tmp_path, at_rest)

    assert knows(tmp_path, at_rest, "d/x") is not None
    assert cache(tmp_path, at_rest).find((b"1",), (1,)) is None


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x92\x09\x80", b"\x92\x01\x81\xa1x\x93"])
def test_a_damaged_cache_is_as_none(tmp_path: Path, at_rest: Path, damage: bytes) -> None:
    learn(tmp_path, at_rest)
    (file,) = (tmp_path / "stats").iterdir()
    file.write_bytes(damage)

    assert learn(tmp_path, at_rest).digest == of(at_rest).digest
    assert knows(tmp_path, at_rest, "d/x") is not None
