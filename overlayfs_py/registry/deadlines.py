"""Time for each step of a request: what httpcore itself waits for without an end.

httpcore limits single reads and writes. A server that sends one byte of a header now and then, a
proxy that does, and a SOCKS proxy that says nothing would be waited for, for ever.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.registry.retrying import RetryPolicy


class _Stream(Protocol):
    async def aclose(self) -> None: ...


class StepDeadlines:
    """Cancels its scope where a step takes longer than it may; `late` says which step then."""

    def __init__(self, policy: RetryPolicy, answer_s: float) -> None:
        self.scope = trio.CancelScope()
        self.late = ""
        self._to_proxy: _Stream | None = None
        self._limits_s = {
            "setup_socks5_connection": (policy.connect_s, "the SOCKS proxy did not connect"),
            "receive_response_headers": (answer_s, "no answer"),
        }

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Follow httpcore: `http11.receive_response_headers.started`, `....complete`, and so on."""
        step, _, state = event.rpartition(".")
        limit = self._limits_s.get(step.rpartition(".")[2]) if state == "started" else None
        self.scope.deadline = math.inf
        if event == "socks.connect_tcp.complete":
            self._to_proxy = cast("_Stream", info["return_value"])
        elif event == "socks.setup_socks5_connection.complete":
            self._to_proxy = None
        if limit is not None:
            limit_s, late = limit
            self.late = f"{late} in {limit_s:g} s"
            self.scope.deadline = trio.current_time() + limit_s

    async def close_proxy(self) -> None:
        """Close the connection to a SOCKS proxy that did not connect: httpcore leaves it open."""
        if self._to_proxy is not None:
            with trio.CancelScope(shield=True):
                await self._to_proxy.aclose()
