from __future__ import annotations

import os

from overlayfs_py.containers.event_loop import READABLE, EventLoop


def test_callbacks_come_in_the_order_of_their_time() -> None:
    loop, seen = EventLoop(), []
    loop.call_later(0.02, lambda: seen.append("second"))
    loop.call_later(0.01, lambda: seen.append("first"))
    loop.call_later(0, lambda: seen.append("at once"))
    loop.call_later(0.015, lambda: seen.append("never")).cancel()

    loop.run_until(lambda: len(seen) == 3)

    assert seen == ["at once", "first", "second"]


def test_a_descriptor_that_one_callback_forgets_calls_no_other() -> None:
    loop, seen = EventLoop(), []
    pipes = [os.pipe() for _ in range(2)]
    for own, other in ((0, 1), (1, 0)):

        def read(own: int = own, other: int = other) -> None:
            seen.append(own)
            loop.forget(pipes[own][0])
            loop.forget(pipes[other][0])

        loop.watch(pipes[own][0], READABLE, read)
        os.write(pipes[own][1], b"x")

    loop.run_until(lambda: bool(seen))

    assert len(seen) == 1
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)


def test_the_end_of_a_pipe_calls_back() -> None:
    loop, seen = EventLoop(), []
    read_fd, write_fd = os.pipe()
    loop.watch(read_fd, 0, lambda: seen.append("ended"))
    loop.call_later(0, lambda: os.close(write_fd))

    loop.run_until(lambda: bool(seen))

    assert seen[0] == "ended"
    os.close(read_fd)
