"""Files of a volume that somebody else changes while a user of the mount has them open."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import Volume
from tests.drivers.serving import Stack, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(stack: Stack) -> Iterator[Path]:
    """A host directory, which is the volume `/volume` of the mount."""
    host = stack.base / "host"
    host.mkdir()
    spec = replace(stack.spec, volumes=(Volume(os.fsencode(host), b"/volume"),))
    with serving(spec, stack.plan):
        yield host


def test_who_appends_overwrites_nothing_that_another_appended(stack: Stack, host: Path) -> None:
    (host / "log").write_bytes(b"begin\n")
    with (
        (stack.target / "volume/log").open("ab", buffering=0) as ours,
        (host / "log").open("ab", buffering=0) as theirs,
    ):
        for number in range(3):
            ours.write(b"ours %d\n" % number)
            theirs.write(b"theirs %d\n" % number)

    expected = b"begin\n" + b"".join(b"ours %d\ntheirs %d\n" % (n, n) for n in range(3))
    assert (host / "log").read_bytes() == expected
    assert (stack.target / "volume/log").read_bytes() == expected


def test_who_appends_goes_on_at_the_end_of_what_another_cut_short(stack: Stack, host: Path) -> None:
    with (stack.target / "volume/log").open("ab", buffering=0) as log:
        log.write(b"before the rotation\n")
        os.truncate(host / "log", 0)
        log.write(b"after\n")

    assert (host / "log").read_bytes() == b"after\n"
