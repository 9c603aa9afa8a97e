"""What the comparisons share: mounts that nobody else sees, and a process to fork daemons from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oracle.namespaces import private_mounts
from tests.oracle.trees import kernel_redirects_of_any_length
from tests.oracle.warm import WarmDaemons

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _own_mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    note = tmp_path_factory.getbasetemp().with_name("redirect_max")  # beside those of all workers
    with private_mounts(), kernel_redirects_of_any_length(note):
        yield


@pytest.fixture(scope="module")
def daemons(_own_mounts: None) -> Iterator[WarmDaemons]:
    with WarmDaemons() as warm:
        yield warm
