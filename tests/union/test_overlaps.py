"""Stacks that overlap themselves: what kernel overlayfs refuses, however the paths are written."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from overlayfs_py.syscalls import mounts
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import StackSpec
from tests.support.trees import Dir, File, build
from tests.union.conftest import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stacked(NamedTuple):
    lower: tuple[str, ...]
    upper: str = "u"
    work: str = "w"
    data_only: tuple[str, ...] = ()

    def spec(self) -> StackSpec:
        lower, data_only = (
            tuple(map(os.fsencode, paths)) for paths in (self.lower, self.data_only)
        )
        upper, work = os.fsencode(self.upper), os.fsencode(self.work)
        return StackSpec(lower, data_only, upper=upper, work=work)

    def options(self) -> str:
        layers = ":".join(self.lower) + "".join(f"::{path}" for path in self.data_only)
        return f"lowerdir={layers},upperdir={self.upper},workdir={self.work},metacopy=on"


# What it is, and the errno and the object of ours; the kernel's errno is the same.
REFUSED = {
    "the upper as a layer": (Stacked(("u",)), errno.ELOOP, b"lowerdir=u"),
    "the workdir as a layer": (Stacked(("w",)), errno.ELOOP, b"lowerdir=w"),
    "a layer in the upper": (Stacked(("l", "u/sub")), errno.ELOOP, b"lowerdir=u/sub"),
    "a layer deep in the upper": (Stacked(("u/sub/deep",)), errno.ELOOP, b"lowerdir=u/sub/deep"),
    "a layer in the workdir": (Stacked(("w/sub",)), errno.ELOOP, b"lowerdir=w/sub"),
    "a layer twice": (Stacked(("l", "m", "l")), errno.ELOOP, b"lowerdir=l"),
    "a layer in a layer": (Stacked(("l", "l/sub")), errno.ELOOP, b"lowerdir=l/sub"),
    "a layer below one in it": (Stacked(("l/sub", "l")), errno.ELOOP, b"lowerdir=l/sub"),
    "a layer for data twice": (Stacked(("l",), data_only=("l",)), errno.ELOOP, b"lowerdir=l"),
    "the upper for data": (Stacked(("l",), data_only=("u",)), errno.ELOOP, b"lowerdir=u"),
    "a link to a layer": (Stacked(("l", "link")), errno.ELOOP, b"lowerdir=link"),
    "dots": (Stacked(("l", "m/../l/.")), errno.ELOOP, b"lowerdir=m/../l/."),
    "a bind mount of a layer": (Stacked(("l", "bound")), errno.ELOOP, b"lowerdir=bound"),
    "a bind mount of a part": (Stacked(("l", "part")), errno.ELOOP, b"lowerdir=part"),
    "upper and workdir the same": (Stacked(("l",), work="u"), errno.EINVAL, b"workdir=u"),
    "the workdir in the upper": (Stacked(("l",), work="u/sub"), errno.EINVAL, b"workdir=u/sub"),
    "the upper in the workdir": (Stacked(("l",), upper="w/sub"), errno.EINVAL, b"upperdir=w/sub"),
}
ALLOWED = {
    "the upper in a layer": Stacked(("l",), upper="l/sub"),
    "the workdir in a layer": Stacked(("l",), upper="l/u", work="l/w"),
    "both in a layer": Stacked((".",)),
    "names that begin alike": Stacked(("l", "ll"), upper="l2", work="l3"),
}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    names = ("l/sub", "l/u", "l/w", "m", "ll", "l2", "l3", "u/sub/deep", "w/sub", "bound", "part")
    build(tmp_path, {**dict.fromkeys(names, Dir()), "l/f": File(b"x"), "mnt": Dir()})
    (tmp_path / "link").symlink_to("l")
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        for source, target in ((b"l", b"bound"), (b"l/sub", b"part")):
            mounts.mount(source, target, None, mounts.MS_BIND)
            stack.callback(mounts.umount, target)
        yield tmp_path


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("parts")
def test_a_stack_that_overlaps_itself_is_refused(case: str) -> None:
    stacked, number, about = REFUSED[case]
    before = open_files()

    with pytest.raises(OSError, match="Errno") as refusal:
        Union(stacked.spec())

    assert (refusal.value.errno, refusal.value.filename) == (number, about)
    assert open_files() == before


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("parts")
def test_the_kernel_refuses_the_same(case: str) -> None:
    stacked, number, _ = REFUSED[case]

    with pytest.raises(OSError, match="Errno") as refusal:
        mounts.mount(b"overlay", b"mnt", b"overlay", 0, stacked.options().encode())

    assert refusal.value.errno == number


@pytest.mark.parametrize("case", ALLOWED)
@pytest.mark.usefixtures("parts")
def test_what_the_kernel_allows_is_allowed(case: str) -> None:
    stacked = ALLOWED[case]
    mounts.mount(b"overlay", b"mnt", b"overlay", 0, stacked.options().encode())
    mounts.umount(b"mnt")

    Union(stacked.spec()).close()
