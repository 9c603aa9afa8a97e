"""An HTTP server on loopback that answers as a test says, rightly or wrongly, and remembers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Request:
    """What came in."""

    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out. A body shorter than its Content-Length ends with the connection."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


HANG_UP = Reply(0)  # close the connection instead of answering
Handler = Callable[[Request], Reply]


class HttpServer(ThreadingHTTPServer):
    """One thread per connection; `requests` in the order in which they came."""

    daemon_threads = True

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.handler = handler
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._context = context
        self.opened: list[socket.socket] = []

    @property
    def domain(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://{self.domain}"

    def paths(self, method: str = "GET") -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        # The handshake belongs to the connection's thread: one that hangs must not stop the others.
        with suppress(OSError):
            if self._context is not None:
                request = self._context.wrap_socket(request, server_side=True)
            self.opened.append(request)
            with request:
                super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""

    def hang_up(self) -> None:
        self.stopping.set()
        for connection in self.opened:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpServer

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._body())
        self.server.requests.append(request)
        reply = self.server.handler(request)
        if reply is HANG_UP:
            self.close_connection = True
            return
        self._write_head(reply)
        if request.method != "HEAD":
            self._write_body(reply)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline() or b"0", 16):  # a client that leaves ends it
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _write_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        names = {name.lower() for name in reply.headers}
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "content-length" not in names and isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
        elif "content-length" not in names:
            self.close_connection = True
            self.send_header("Connection", "close")
        elif isinstance(reply.body, bytes) and len(reply.body) < int(
            reply.headers["Content-Length"]
        ):
            self.close_connection = True
        self.end_headers()

    def _write_body(self, reply: Reply) -> None:
        for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@contextmanager
def http_server(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[HttpServer]:
    """Serve until the end of the block."""
    with HttpServer(handler, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.hang_up()
            server.shutdown()
            thread.join()
