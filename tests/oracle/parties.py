"""Who is compared: kernel overlayfs with given features, and our drivers with the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.oracle.layers import Dialect
from tests.oracle.machine import Machine
from tests.oracle.sides import Party
from tests.oracle.trees import kernel_overlay, ours
from tests.support.uppers import TRUSTED, USER

if TYPE_CHECKING:
    from tests.oracle.warm import WarmDaemons

# redirect_dir: directories rename as on ours. index: hard links stay one file after copy-up, as on
# ours. xino: st_ino is unique over layers of several filesystems. metacopy: off, as ours usually.
FEATURES = {"redirect_dir": "on", "index": "on", "xino": "auto", "metacopy": "off"}


def kernel(**changed: str) -> Party:
    """Kernel overlayfs.

    With its index it refuses a file without data (ESTALE) whose origin is in another copy of the
    layers, if it can have an index: over several layers that takes a filesystem with a UUID.
    """
    features = {**FEATURES, **changed}
    elsewhere = kernel_overlay(**{**features, "index": "off"})
    return Party("kernel", kernel_overlay(**features), elsewhere=elsewhere)


def our_driver(daemons: WarmDaemons, driver: str, **options: bool) -> Party:
    mounter = ours(daemons, driver=driver, **options)
    return Party(driver, mounter, Dialect.OURS, tidy=True)


def machine(expected: Party, actual: Party, *, namespace: bytes = TRUSTED) -> type[Machine]:
    return type(
        "Comparison",
        (Machine,),
        {"right": expected, "tested": actual, "namespace": namespace},
    )


def with_metacopies(expected: Party, actual: Party) -> type[Machine]:
    """Which files are copied without data is not compared: what each upper shows elsewhere is."""
    compared = machine(expected, actual)
    compared.metacopies = True
    return compared


def with_four_users(expected: Party, actual: Party) -> type[Machine]:
    """Root and three users, two of whom share a group, in a tree that all of them may change."""
    compared = machine(expected, actual)
    compared.users = (0, 1000, 1001, 1002)
    compared.root_mode = 0o2777
    return compared


def in_user_namespace(daemons: WarmDaemons, driver: str) -> type[Machine]:
    """What an unprivileged user has: xattrs in user.overlay, and no redirects in the kernel."""
    compared = machine(
        kernel(redirect_dir="nofollow", userxattr=""),
        our_driver(daemons, driver, redirect_dir=False),
        namespace=USER,
    )
    compared.layers_have_links = False
    return compared
