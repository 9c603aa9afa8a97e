"""The clients of a container's monitor that stay: they see its output, or wait for its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from overlayfs_py.containers.frames import Kind, number_frame

if TYPE_CHECKING:
    from overlayfs_py.containers.door import Client
    from overlayfs_py.containers.event_loop import EventLoop

_LAST_CLIENTS_S = 10.0  # for clients that do not read what is left


class Audience:
    """Who is to be told what, in the order in which they came."""

    def __init__(self) -> None:
        self.attached: list[Client] = []
        self.waiting: list[Client] = []  # for the end
        self.restarting: list[Client] = []  # those that have asked for a restart

    def forget(self, client: Client) -> None:
        """Tell a client that has left nothing any more."""
        for clients in (self.attached, self.waiting, self.restarting):
            if client in clients:
                clients.remove(client)

    def tell_restarted(self, answer: dict[str, object]) -> None:
        """Answer those that have asked for a restart."""
        clients, self.restarting = self.restarting, []
        for client in clients:
            client.answer(answer)

    def say_goodbye(self, loop: EventLoop, exit_code: int) -> None:
        """Let every client read what is left, and the exit status."""
        clients = {*self.attached, *self.waiting}
        for client in self.waiting:
            client.answer({"exit_code": exit_code})
        for client in self.attached:
            client.send(number_frame(Kind.ENDED, exit_code))
        for client in clients:
            client.finish()
        deadline = time.monotonic() + _LAST_CLIENTS_S
        late = loop.call_later(_LAST_CLIENTS_S, lambda: None)
        loop.run_until(
            lambda: all(client.has_all for client in clients) or time.monotonic() >= deadline
        )
        late.cancel()
