"""What is said to the warm process, other than commands."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure
from overlayfs_py.warm import client

if TYPE_CHECKING:
    import socket

READY = b"ready"
_ENDING_S = 5.0


def status(path: str) -> dict[str, object] | None:
    """What the process at `path` says of itself, None where there is none.

    Raises:
        Failure: it does not answer.
    """
    answer = _asked(path, client.STATUS)
    if answer is None:
        return None
    found: dict[str, object] = json.loads(answer)
    return found


def stop(path: str) -> int | None:
    """Have it take no more commands; returns how many still run, None where there is no process.

    Raises:
        Failure: it does not answer.
    """
    answer = _asked(path, client.STOP)
    return None if answer is None else int(answer)


def _asked(path: str, question: bytes) -> bytes | None:
    deadline = time.monotonic() + _ENDING_S
    while time.monotonic() < deadline:
        try:
            sock = client.connected(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}") from error
        try:
            return _answer(sock, question)
        except (client.Lost, ConnectionError):
            time.sleep(0.01)  # it is just ending, and will be gone
        except OSError as error:
            raise Failure(f"{path}: it does not answer: {error.strerror or error}") from error
        finally:
            sock.close()
    raise Failure(f"{path}: it does not answer")


def _answer(sock: socket.socket, question: bytes) -> bytes:
    sock.sendall(client.packed([question]))
    data = b""
    while more := sock.recv(1 << 16):
        data += more
    if not data:
        raise client.Lost
    (answer,) = client.unpacked(data[4:])
    return answer
