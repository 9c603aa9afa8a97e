"""The exact command lines of callers, as they have been seen."""

from __future__ import annotations

import pytest

from overlayfs_py.backends.mount_options import OptionError
from overlayfs_py.backends.mount_program import read
from overlayfs_py.union.values import IdMap, IdRange, StackSpec

UPPER = {"upper": b"R/ID/diff", "work": b"R/ID/work"}
MAP = (IdRange(0, 100000, 5000),)

CALLS = {
    "podman, read-write": (
        ["-o", "lowerdir=R/l/A:R/l/B,upperdir=R/ID/diff,workdir=R/ID/work,", "R/ID/merged"],
        StackSpec(lower=(b"R/l/A", b"R/l/B"), **UPPER),
    ),
    "podman, a build's step": (
        ["-o", "lowerdir=R/l/A,upperdir=R/ID/diff,workdir=R/ID/work,,volatile", "R/ID/merged"],
        StackSpec(lower=(b"R/l/A",), **UPPER, volatile=True),
    ),
    "podman, user namespace": (
        [
            "-o",
            "lowerdir=R/ID/mapped/0/l/A,upperdir=R/ID/diff,workdir=R/ID/work,,volatile"
            ",uidmapping=:0:100000:5000,gidmapping=:0:100000:5000",
            "R/ID/merged",
        ],
        StackSpec(
            lower=(b"R/ID/mapped/0/l/A",),
            **UPPER,
            volatile=True,
            ids=IdMap(uids=MAP, gids=MAP),
        ),
    ),
    "podman, diff and commit": (
        ["-o", "lowerdir=R/ID/diff:R/l/B", "R/ID/merged"],
        StackSpec(lower=(b"R/ID/diff", b"R/l/B")),
    ),
    "mount(8)": (
        [
            "none",
            "R/ID/merged",
            "-o",
            "rw,lowerdir=R/l/A,upperdir=R/ID/diff,workdir=R/ID/work,dev,suid",
        ],
        StackSpec(lower=(b"R/l/A",), **UPPER),
    ),
    "containerd": (
        [
            "overlay",
            "R/ID/merged",
            "-o",
            "workdir=R/ID/work,upperdir=R/ID/diff,lowerdir=R/l/A:R/l/B,dev,suid",
        ],
        StackSpec(lower=(b"R/l/A", b"R/l/B"), **UPPER),
    ),
    "attached options, repeated": (
        ["-olowerdir=R/l/A", "-o", "upperdir=R/ID/diff", "-oworkdir=R/ID/work", "R/ID/merged"],
        StackSpec(lower=(b"R/l/A",), **UPPER),
    ),
}


@pytest.mark.parametrize(("arguments", "stack"), CALLS.values(), ids=CALLS.keys())
def test_callers_get_what_they_mean(arguments: list[str], stack: StackSpec) -> None:
    asked = read(arguments)

    assert asked.request.stack == stack
    assert asked.request.plan.target == b"R/ID/merged"
    assert asked.request.unknown == []
    assert not asked.foreground


@pytest.mark.parametrize(
    ("arguments", "source"),
    [(["m"], "overlay"), (["none", "m"], "none"), (["overlay", "m"], "overlay")],
)
def test_the_mount_point_comes_last(arguments: list[str], source: str) -> None:
    plan = read(["-o", "lowerdir=l", *arguments]).request.plan

    assert (plan.source, plan.target) == (source, b"m")


def test_flags() -> None:
    assert read(["-f", "m", "-olowerdir=l"]).foreground
    assert read(["--debug", "m", "-olowerdir=l"]).debug
    assert read(["-d", "m", "-olowerdir=l"]).debug
    assert read(["-r", "m", "-olowerdir=l"]).request.plan.read_only
    assert read(["-s", "-n", "-v", "m", "-olowerdir=l"]).request.unknown == []
    assert read(["-z", "--odd", "m", "-olowerdir=l"]).request.unknown == [
        "--odd: unknown option, ignored",
        "-z: unknown option, ignored",
    ]


def test_words_after_two_dashes_are_places() -> None:
    assert read(["-olowerdir=l", "--", "-m"]).request.plan.target == b"-m"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "lowerdir=l"], "mount point: one is needed, 0 are given"),
        (["-o", "lowerdir=l", "a", "b", "c"], "mount point: one is needed, 3 are given"),
        (["m", "-o"], "-o: needs a value"),
        (["m"], "lowerdir: the mount needs at least one layer"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(arguments)

    assert str(caught.value) == message
