"""A process that has imported our driver and forks one daemon for each request: a mount in ms.

Client and server speak over a socket pair: a request is one JSON message that carries a pipe's
writing end. The forked daemon writes `ready` to the pipe once the mount answers; end of file is
the end of the daemon, and anything between the two is its complaint.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from tests.support.lowers import as_served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.oracle.trees import Trees

_READY = b"ready\n"
_TIMEOUT_S = 20.0
_REQUEST_BYTES = 1 << 16


class WarmDaemons:
    """The client's side; also ends the server."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.oracle.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self._socket = mine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._server.wait(_TIMEOUT_S)

    @contextmanager
    def mounted(
        self,
        trees: Trees,
        *,
        redirect_dir: bool = True,
        metacopy: bool = False,
        writeback: bool = False,
        driver: str = "auto",
        kept: Sequence[Path] = (),
        door: socket.socket | None = None,
    ) -> Iterator[None]:
        """Serve `trees`; the caller unmounts before the end of the context, which then waits.

        Raises:
            AssertionError: the daemon did not mount, said anything, or did not end.
        """
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            try:
                request = {
                    "lower": [
                        os.fsdecode(lower if lower in kept else as_served(lower))
                        for lower in trees.lowers
                    ],
                    "kept": len(kept),
                    "upper": str(trees.upper),
                    "work": str(trees.work),
                    "target": str(trees.root),
                    "redirect_dir": redirect_dir,
                    "metacopy": metacopy,
                    "writeback": writeback,
                    "driver": driver,
                }
                fds = [writer] if door is None else [writer, door.fileno()]
                socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
            finally:
                os.close(writer)
            answer = _next(pipe.fileno())
            if answer != _READY:
                raise AssertionError(f"no mount: {_rest(pipe.fileno(), answer).decode()}")
            yield
            complaint = _rest(pipe.fileno(), b"").decode()
            assert not complaint, f"the daemon ended with: {complaint}"


def _next(pipe: int) -> bytes:
    readable, _, _ = select.select([pipe], [], [], _TIMEOUT_S)
    assert readable, f"no word from the daemon in {_TIMEOUT_S} s"
    return os.read(pipe, _REQUEST_BYTES)


def _rest(pipe: int, said: bytes) -> bytes:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        piece = _next(pipe)
        if not piece:
            return said
        said += piece
    raise AssertionError(f"the daemon goes on after unmount and says {said!r}")


def main() -> None:
    import overlayfs_py.drivers.service

    assert overlayfs_py.drivers.service
    requests = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 2)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _serve(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _serve(request: dict[str, object], pipe: int, door: int | None = None) -> None:
    from overlayfs_py.drivers.mounting import MountPlan
    from overlayfs_py.drivers.service import serve
    from overlayfs_py.union.values import StackSpec

    os.dup2(pipe, 2)  # what the daemon logs is a complaint
    try:
        serve(
            StackSpec(
                lower=tuple(os.fsencode(lower) for lower in request["lower"]),
                upper=os.fsencode(request["upper"]),
                work=os.fsencode(request["work"]),
                redirect_dir=request["redirect_dir"],
                metacopy=request["metacopy"],
                kept=request["kept"],
            ),
            MountPlan(
                target=os.fsencode(request["target"]),
                writeback=request["writeback"],
                door_fd=door,
            ),
            driver=request["driver"],
            on_ready=lambda: os.write(pipe, _READY),
        )
    except BaseException:  # reported through the pipe; a forked child must not return
        os.write(pipe, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
