"""Our mounts against kernel overlayfs: see docs/DIVERGENCES.md for what may differ."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.oracle import live, parties, profiles
from tests.oracle.four_users import compare
from tests.oracle.layers import Dialect
from tests.oracle.sides import Party
from tests.oracle.trees import kernel_overlay
from tests.system.unprivileged import device_for_everybody

if TYPE_CHECKING:
    from tests.oracle.warm import WarmDaemons

_LONG_S = 6 * 3600


@pytest.mark.parametrize(("driver", "part"), [("direct", 1), ("pyfuse3", 4)])
def test_we_do_what_the_kernel_does(daemons: WarmDaemons, driver: str, part: int) -> None:
    ours = parties.our_driver(daemons, driver)

    profiles.run(parties.machine(parties.kernel(), ours), part=part)


def test_we_do_what_the_kernel_does_without_redirects(daemons: WarmDaemons) -> None:
    ours = parties.our_driver(daemons, "direct", redirect_dir=False)

    profiles.run(parties.machine(parties.kernel(redirect_dir="off"), ours), part=5)


@pytest.mark.parametrize(("driver", "part"), [("direct", 2), ("pyfuse3", 6)])
def test_we_do_what_the_kernel_does_with_metacopies(
    daemons: WarmDaemons, driver: str, part: int
) -> None:
    ours = parties.our_driver(daemons, driver, metacopy=True)

    profiles.run(parties.with_metacopies(parties.kernel(metacopy="on"), ours), part=part)


def test_we_do_what_the_kernel_does_with_writes_collected(daemons: WarmDaemons) -> None:
    ours = parties.our_driver(daemons, "direct", writeback=True)

    profiles.run(parties.machine(parties.kernel(), ours), part=4)


@pytest.mark.parametrize("metacopy", [False, True])
def test_snapshots_of_a_mount_in_use_are_what_the_kernel_makes_of_their_layers(
    daemons: WarmDaemons, *, metacopy: bool
) -> None:
    kernel = parties.kernel(metacopy="on" if metacopy else "off")
    ours = Party("live", live.WithDoor(daemons, metacopy=metacopy), Dialect.OURS, tidy=True)

    profiles.run(live.live_machine(kernel, ours, metacopies=metacopy), part=3)


@pytest.mark.parametrize("driver", ["direct", "pyfuse3"])
def test_four_users_get_what_the_kernel_gives_them(daemons: WarmDaemons, driver: str) -> None:
    counts = compare(daemons, driver, steps=150)

    assert all(counts[f"of {uid}"] for uid in (0, 1000, 1001, 1002))
    assert 0 < counts["refused"] < counts["steps"]


def test_we_do_what_the_kernel_does_in_a_user_namespace(pytestconfig: pytest.Config) -> None:
    lowers = pytestconfig.getoption("--lowers")
    command = [sys.executable, "-m", "tests.oracle.user_namespace", "direct", lowers]
    with device_for_everybody():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONG_S)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kernel_does_what_the_kernel_does() -> None:
    """Whatever differs here is a fault of the comparison."""
    profiles.run(parties.machine(parties.kernel(), parties.kernel()))


def test_a_difference_is_found() -> None:
    """The kernel without redirects is a filesystem with one known difference."""
    without = Party(
        "kernel without redirects", kernel_overlay(**{**parties.FEATURES, "redirect_dir": "off"})
    )

    with pytest.raises(AssertionError, match="EXDEV"):
        profiles.run(parties.machine(parties.kernel(), without), profiles.PROFILES["ci"])
