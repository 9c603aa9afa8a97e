"""Whatever call of a snapshot, or of the way back, is the last: one stack is there or the other."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from overlayfs_py.containers import snapshots
from overlayfs_py.containers.changes import open_files
from overlayfs_py.store.containers import ContainerRecord, new_id
from overlayfs_py.store.store import Store
from tests.store.killing import killed_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NOTHING = "sha256:" + "0" * 64


def _store(root: Path) -> Store:
    """A store with a container that has written something and does not run."""
    store = Store.open(root)
    record = ContainerRecord(
        id=new_id(),
        name="one",
        created_ns=1,
        image="none",
        image_id=_NOTHING,
        manifest=_NOTHING,
        diff_ids=(),
    )
    directory = store.containers.create(record)
    (directory / "upper/d").mkdir(parents=True)
    (directory / "work").mkdir()
    _write(store, "first")
    return store


def _write(store: Store, text: str) -> None:
    record = store.containers.get("one")
    upper = store.containers.placed(record).upper
    (upper / "d").mkdir(exist_ok=True)
    (upper / "d/file").write_text(text)
    (upper / "d/link").unlink(missing_ok=True)
    os.link(upper / "d/file", upper / "d/link")


def _shown(store: Store) -> dict[bytes, bytes]:
    with open_files(store, store.containers.get("one")) as files:
        return {
            b"/".join(file.path): b"".join(files.after.content(file))
            for file in files.after.walk()
            if not file.node.is_directory
        }


def _tags(store: Store) -> list[str]:
    return [each.tag for each in store.containers.stack(store.containers.get("one")).snapshots]


def _kill_everywhere(
    tmp_path: Path, made: Path, change: Callable[[Store], object], check: Callable[[Store], None]
) -> None:
    calls, killed = 0, True
    while killed:
        calls += 1
        root = tmp_path / f"killed{calls}"
        shutil.copytree(made, root, symlinks=True)
        killed = killed_after(calls, root, change)
        check(Store.open(root))
        shutil.rmtree(root)
    assert calls > 15


def test_a_killed_snapshot(tmp_path: Path) -> None:
    before = _shown(_store(tmp_path / "made"))

    def check(store: Store) -> None:
        record = store.containers.get("one")
        assert _shown(store) == before
        had = _tags(store)
        assert had in ([], ["v1"])
        snapshots.snapshot(store, record, "v2")
        _write(store, "later")
        assert _shown(store)[b"d/file"] == b"later"
        for tag in [*had, "v2"]:
            snapshots.restore(store, record, tag)
            assert _shown(store) == before
        assert list(store.check()) == []
        names = os.listdir(store.containers.directory(record.id))
        assert not [name for name in names if name.startswith(("next", "gone"))]

    def take(store: Store) -> None:
        snapshots.snapshot(store, store.containers.get("one"), "v1")

    _kill_everywhere(tmp_path, tmp_path / "made", take, check)


def test_a_killed_way_back(tmp_path: Path) -> None:
    made = _store(tmp_path / "made")
    record = made.containers.get("one")
    snapshots.snapshot(made, record, "v1")
    old = _shown(made)
    _write(made, "second")
    snapshots.snapshot(made, record, "v2")
    _write(made, "third")
    new = _shown(made)

    def check(store: Store) -> None:
        assert _shown(store) in (old, new)
        snapshots.restore(store, record, "v2")
        assert _shown(store)[b"d/link"] == b"second"
        assert list(store.check()) == []

    def go_back(store: Store) -> None:
        snapshots.restore(store, store.containers.get("one"), "v1")

    _kill_everywhere(tmp_path, tmp_path / "made", go_back, check)
