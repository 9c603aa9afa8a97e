"""`refused(errno.EXDEV)`: the block inside must fail with just that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as refusal:  # noqa: PT011 - its errno is what counts
        yield
    assert refusal.value.errno == number
