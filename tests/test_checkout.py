from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.oracle.namespaces import private_mounts
from tests.support.checkout import show_to_everybody
from tests.system.processes import attempt, run
from tests.system.unprivileged import as_user

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that others enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="overlayfs-checkout-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_a_checkout_below_a_closed_directory_is_entered_by_others(scratch: Path) -> None:
    checkout = scratch / "closed/between/checkout"
    checkout.mkdir(parents=True)
    (checkout / "file").write_text("for all\n")
    (scratch / "closed/secret").write_text("not for all\n")
    (scratch / "closed").chmod(0o700)
    read = as_user(["cat", checkout / "file"])
    assert attempt(read).returncode != 0

    with private_mounts():
        show_to_everybody(checkout)
        assert run(read) == "for all\n"
        assert not (scratch / "closed/secret").exists()

    assert attempt(read).returncode != 0
