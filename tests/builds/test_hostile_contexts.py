"""A context that another process changes while it is read: nothing outside is, nothing hangs."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds.copying import CopyOptions, write_copy
from overlayfs_py.builds.failures import BadContext, ChangedMeanwhile
from overlayfs_py.builds.fingerprint import fingerprint
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.selection import select
from overlayfs_py.store.store import Store
from overlayfs_py.syscalls.files import RENAME_EXCHANGE, rename
from tests.builds.building import let_all_reach
from tests.builds.trees import tree_of
from tests.support.trees import Dir, File, Symlink, build
from tests.support.users import ALICE, errno_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.store.additions import Addition

_ROUNDS = 40


@pytest.fixture
def addition(tmp_path: Path) -> Iterator[Addition]:
    with Store.open(tmp_path / "store").add() as addition:
        yield addition


@pytest.fixture
def place(tmp_path: Path) -> Path:
    build(tmp_path / "outside", {"x": File(b"secret"), "y": File(b"secret")})
    build(tmp_path / "context", {"d/x": File(b"x" * 3_000_000), "d/y": File(b"y"), "f": File()})
    return tmp_path / "context"


def _swap_for_link(place: Path) -> None:
    (place / "d").rename(place / "away")
    (place / "d").symlink_to("../outside")


def _swap_file_for_link(place: Path) -> None:
    (place / "d/y").unlink()
    (place / "d/y").symlink_to("../../outside/y")


def _swap_for_directory(place: Path) -> None:
    (place / "d").rename(place / "away")
    build(place, {"d/x": File(b"other"), "d/y": File(b"other")})


def _fifo(place: Path) -> None:
    (place / "d/y").unlink()
    os.mkfifo(place / "d/y")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file becomes a link": _swap_file_for_link,
    "a file becomes a FIFO": _fifo,
    "a file is gone": lambda place: (place / "d/y").unlink(),
    "a file grows": lambda place: (place / "d/y").write_bytes(b"longer"),
    "a file shrinks": lambda place: (place / "d/x").write_bytes(b""),
    "a file changes": lambda place: (place / "d/y").write_bytes(b"Y"),
}


def _layer(addition: Addition, selected: Sequence[Selected]) -> object:
    return write_copy(addition, selected, (), "/to/", CopyOptions())


def _fingerprint(_: Addition, selected: Sequence[Selected]) -> object:
    return fingerprint(selected)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", [_fingerprint, _layer])
def test_what_changes_after_it_was_seen(
    addition: Addition,
    place: Path,
    change: str,
    step: Callable[[Addition, Sequence[Selected]], object],
) -> None:
    with HostContext(bytes(place)) as context:
        selected = select(context, ["d", "f"])
        CHANGES[change](place)

        with pytest.raises(ChangedMeanwhile) as raised:
            step(addition, selected)

    told = "it changed while it was read: build again once it is at rest"
    name, _, why = str(raised.value).partition(": ")
    assert (name in {"d/x", "d/y"}, why) == (True, told)


@pytest.mark.parametrize("swap", [_swap_for_link, _swap_for_directory])
@pytest.mark.parametrize("others", [0, 100])
def test_a_directory_that_is_replaced(
    addition: Addition, place: Path, swap: Callable[[Path], None], others: int
) -> None:
    """It is read as it was seen while it is open, and missed once it has to be opened again."""
    build(place, {f"z{at}/x": File() for at in range(others)})
    with HostContext(bytes(place)) as context:
        selected = select(context, ["."])
        swap(place)

        if others:
            with pytest.raises(ChangedMeanwhile):
                _layer(addition, selected)
        else:
            layer = write_copy(addition, selected, (), "/to/", CopyOptions())
            assert tree_of([layer])["/to/d/y"] == "f 644 0:0 y"


def test_a_file_that_changes_while_it_is_read(place: Path) -> None:
    with HostContext(bytes(place)) as context:
        item = select(context, ["d/x"])[0].source
        pieces = context.data(item)
        next(pieces)
        with (place / "d/x").open("r+b") as file:
            file.write(b"X")

        with pytest.raises(ChangedMeanwhile):
            list(pieces)


@contextmanager
def _exchanging(place: Path) -> Iterator[None]:
    """Exchange a directory and a link that leads out, all the time."""
    (place / "l").symlink_to("../outside")
    fd = os.open(place, os.O_PATH | os.O_DIRECTORY)
    stopping = threading.Event()

    def exchange() -> None:
        while not stopping.is_set():
            rename(fd, b"d", fd, b"l", RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        os.close(fd)


def test_a_race_leads_nowhere(addition: Addition, place: Path) -> None:
    with _exchanging(place), HostContext(bytes(place)) as context:
        for _ in range(_ROUNDS):
            with suppress(ChangedMeanwhile):
                layer = write_copy(addition, select(context, ["."]), (), "/", CopyOptions())
                assert not any("secret" in told for told in tree_of([layer]).values())


def test_what_a_user_may_not_read(tmp_path: Path) -> None:
    build(tmp_path, {"open": Dir(mode=0o755), "open/x": File(b"x", mode=0o600)})
    let_all_reach(tmp_path)

    def read() -> None:
        with HostContext(bytes(tmp_path / "open")) as context:
            try:
                fingerprint(select(context, ["x"]))
            except BadContext as error:
                if str(error) == "x: cannot be read: Permission denied":
                    raise OSError(77, "as it should be") from error

    assert errno_as(ALICE, read) == 77


def test_no_xattr_of_a_context_means_anything_in_a_layer(
    addition: Addition, tmp_path: Path
) -> None:
    marks = {
        "user.overlay.opaque": b"y",
        "user.containers.override_stat": b"7:7:0100644",
        "user.mine": b"1",
    }
    build(tmp_path / "context", {"d": Dir(xattrs=marks), "d/l": Symlink("x")})
    os.setxattr(tmp_path / "context" / "d", "trusted.overlay.opaque", b"y")

    with HostContext(bytes(tmp_path / "context")) as context:
        layer = write_copy(addition, select(context, ["."]), (), "/", CopyOptions())

    shown = " ".join(f"{name}={value!r}" for name, value in sorted(marks.items()))
    assert tree_of([layer])["/d"] == f"d 755 0:0 {shown}"
