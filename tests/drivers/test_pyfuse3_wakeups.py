"""Who waits for a thread gets its answer, whatever pyfuse3 is waiting for."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.drivers.serving import Stack, is_copying_up, serving, wait_until, with_driver

if TYPE_CHECKING:
    import pytest

_TIMEOUT_S = 10
_BLOCKED_IN_READ = "fuse_dev_do_read"


def test_a_finished_copy_up_is_heard_of_in_a_read_in_vain(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_driver.set("pyfuse3")
    stack = Stack(scratch)
    (stack.lower / "file").write_text("from below")
    go, withdraw = scratch / "go", scratch / "withdraw"
    monkeypatch.setenv("GO", os.fspath(go))
    monkeypatch.setenv("WITHDRAW", os.fspath(withdraw))

    def blocks_in_read() -> bool:
        return _BLOCKED_IN_READ in Path(f"/proc/{daemon.process.pid}/stack").read_text()

    with (
        ThreadPoolExecutor() as pool,
        serving(stack.spec, stack.plan, runner="blocked_read_runner") as daemon,
    ):
        writing = pool.submit((stack.target / "file").chmod, 0o600)
        try:
            assert wait_until(lambda: is_copying_up(stack, daemon))
            withdraw.touch()
            assert wait_until(blocks_in_read)
            go.touch()
            writing.result(_TIMEOUT_S)
        finally:
            withdraw.unlink(missing_ok=True)
        copied = (stack.upper / "file").read_text()

    assert copied == "from below"
