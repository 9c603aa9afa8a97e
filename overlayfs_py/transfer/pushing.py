"""What writes its data, for somebody who reads it: a thread and a pipe between them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Write = Callable[[bytes | memoryview], object]

_BLOCK_BYTES = 256 << 10


@contextmanager
def pushed(produce: Callable[[Write], object]) -> Iterator[Iterator[bytes]]:
    """Give what `produce` writes, while it runs in a thread of its own.

    What it raises is raised at the end of the `with` block, in place of what the reader made of
    the end that came too early. Leaving early makes its next write fail, which is no error then.
    """
    read_fd, write_fd = os.pipe()
    failures: list[BaseException] = []
    thread = threading.Thread(
        target=_produce, args=(produce, write_fd, failures), name="push", daemon=True
    )
    thread.start()
    try:
        yield _blocks(read_fd)
    finally:
        os.close(read_fd)
        thread.join()
        if failures:
            raise failures[0]


def _produce(
    produce: Callable[[Write], object], write_fd: int, failures: list[BaseException]
) -> None:
    try:
        with open(write_fd, "wb", buffering=0) as pipe:
            # A write(2) to a pipe may take only a part.
            produce(lambda data: _write_all(pipe.fileno(), data))
    except BrokenPipeError:
        return
    except BaseException as error:
        failures.append(error)


def _write_all(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _blocks(read_fd: int) -> Iterator[bytes]:
    while block := os.read(read_fd, _BLOCK_BYTES):
        yield block
