"""What `image explore` says of paths, beside what `image analyze` finds, on random layers."""

from __future__ import annotations

import random
import stat

import pytest

from overlayfs_py.advice.image_facts import FileFact, LayerFacts
from overlayfs_py.advice.image_places import Change, ImagePlaces
from overlayfs_py.advice.image_stack import ImageStack
from overlayfs_py.image.digest import digest_of_hex

_LAYERS = 4
_NAMES = (b"a", b"b", b"c")


def _layer(at: int, chance: random.Random) -> LayerFacts:
    files: dict[bytes, FileFact] = {}
    numbers = iter(range(1, 1000))

    def add(path: bytes, depth: int) -> None:
        is_directory = depth < 3 and chance.random() < 0.6
        kind = stat.S_IFDIR if is_directory else stat.S_IFREG
        # Some files have two names.
        known = [f for f in files.values() if f.is_regular]
        if not is_directory and known and chance.random() < 0.3:
            files[path] = chance.choice(known)._replace(path=path)
            return
        size = 0 if is_directory else chance.randrange(100)
        files[path] = FileFact(at, path, kind | 0o755, 0, 0, size, next(numbers))
        for name in _NAMES if is_directory else ():
            if chance.random() < 0.5:
                add(path + b"/" + name, depth + 1)

    for name in _NAMES:
        if chance.random() < 0.7:
            add(name, 1)
    paths = [b"a", b"b/a", b"c/b/a", b"c/c", b"b"]
    deleted = [path for path in paths if chance.random() < 0.3 and path not in files]
    opaque = [path for path, each in files.items() if each.is_directory and chance.random() < 0.1]
    diff_id = digest_of_hex(f"{at:064x}")
    return LayerFacts(at, diff_id, "", list(files.values()), deleted, opaque)


@pytest.mark.parametrize("seed", range(60))
def test_both_say_the_same(seed: int) -> None:
    chance = random.Random(seed)
    layers = [_layer(at, chance) for at in range(_LAYERS)]
    places = ImagePlaces(layers)

    for count in range(1, _LAYERS + 1):
        shown = {fact.path: fact for fact in ImageStack(layers[:count]).visible()}
        seen = places.seen(count - 1, is_whole=True)
        found = {p.path[1:]: p.at(count - 1) for p in seen if p.at(count - 1) is not None}
        assert found == shown
        sizes = {fact.key: fact.size for fact in shown.values()}
        assert seen[places.root].size == sum(sizes.values())
    hidden = ImageStack(layers).hidden
    wasted = [sum(e.size for e in hidden if e.fact.at == at) for at in range(_LAYERS)]
    assert places.wasted(_LAYERS) == wasted


def test_what_a_layer_did() -> None:
    def fact(at: int, path: bytes, mode: int = stat.S_IFREG | 0o644) -> FileFact:
        return FileFact(at, path, mode, 0, 0, 1, hash(path))

    directory = stat.S_IFDIR | 0o755
    diff_id = digest_of_hex("0" * 64)
    lower = [fact(0, b"d", directory), fact(0, b"d/x"), fact(0, b"y"), fact(0, b"z", directory)]
    upper = [fact(1, b"d", directory), fact(1, b"y"), fact(1, b"z", stat.S_IFDIR | 0o700)]
    places = ImagePlaces(
        [
            LayerFacts(0, diff_id, "", lower, [], []),
            LayerFacts(1, diff_id, "", [*upper, fact(1, b"new")], [b"d/x"], []),
        ]
    )
    seen = places.seen(1, is_whole=False)

    assert {place.path: each.change for place, each in seen.items()} == {
        b"/": Change.NONE,
        b"/d": Change.NONE,
        b"/d/x": Change.REMOVED,
        b"/y": Change.CHANGED,
        b"/z": Change.CHANGED,
        b"/new": Change.ADDED,
    }
    assert seen[places.root].changes_below == 4
    (place,) = (each for each in seen if each.path == b"/y")
    assert place.hidden_by(0) == 1
    assert place.hidden_by(1) is None
