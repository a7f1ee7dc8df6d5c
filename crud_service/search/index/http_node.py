"""The connections of the Elasticsearch client: plain sockets and our HTTP server's parser.

This is a node class for elastic-transport. Its default, urllib3, took half of the time that
a search spends in this process, and the standard library's client still took a third.
"""

import math
import select
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, NamedTuple

from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionError,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
)
from elastic_transport.client_utils import DEFAULT, DefaultType
from httptools import HttpParserError, HttpResponseParser

# How soon the kernel gives up on a silent peer: unacknowledged data, and probes while idle.
SILENCE = (
    {
        socket.TCP_USER_TIMEOUT: 10_000,
        socket.TCP_KEEPIDLE: 5,
        socket.TCP_KEEPINTVL: 2,
        socket.TCP_KEEPCNT: 3,
    }
    if sys.platform == "linux"
    else {}
)
# The largest response, pages of `check_index`, has some megabytes.
MOST_BYTES = 64 * 1024 * 1024


class NodeResponse(NamedTuple):
    """What a node returns; the client has a class of its own for it, which is not public."""

    meta: ApiResponseMeta
    body: bytes


class HttpNode(BaseNode):
    """One node, with one connection per concurrent request; idle connections are reused."""

    _CLIENT_META_HTTP_CLIENT: ClassVar[tuple[str, str]] = ("ht", "1.0")

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._tls: ssl.SSLContext | None = None
        if config.scheme == "https":
            self._tls = config.ssl_context or ssl.create_default_context(cafile=config.ca_certs)
        # Needs no lock: it is only appended to and popped from, and both are atomic.
        self._idle: list[socket.socket] = []

    def perform_request(  # type: ignore[override]  # see NodeResponse
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeResponse:
        """Send a request; raise ConnectionError, ConnectionTimeout or TlsError on failure.

        The timeout is in seconds, for connecting, for each read and write, and for the whole
        response once its first part is there.
        """
        timeout = self.config.request_timeout if request_timeout is DEFAULT else request_timeout
        started = time.monotonic()
        request = self._render(method, target, body or b"", headers or {})
        connection = None
        try:
            connection = self._take_idle() or self._connect(timeout)
            connection.settimeout(timeout)
            connection.sendall(request)
            response = Response(connection, has_body=method != "HEAD", timeout=timeout)
        except BaseException as error:
            if connection is not None:
                connection.close()
            raise translate(error) from error
        if response.stays_open:
            self._idle.append(connection)
        else:
            connection.close()
        meta = ApiResponseMeta(
            status=response.status,
            http_version="1.1",
            headers=HttpHeaders(response.headers),
            duration=time.monotonic() - started,
            node=self.config,
        )
        return NodeResponse(meta, bytes(response.body))

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _render(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        address = f"[{self.host}]" if ":" in self.host else self.host
        sent = {"host": f"{address}:{self.port}", "content-length": str(len(body))}
        sent |= {**self.headers, **headers}
        lines = "".join([f"{name}: {value}\r\n" for name, value in sent.items()])
        return f"{method} {self.path_prefix}{target} HTTP/1.1\r\n{lines}\r\n".encode() + body

    def _connect(self, timeout: float | None) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout)
        # A link that went silent is noticed sooner than a slow answer times out.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in SILENCE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise

    def _take_idle(self) -> socket.socket | None:
        """Return an idle connection that the server has not closed, or None."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not has_something_to_read(connection):
                return connection
            connection.close()


class Response:
    """The next complete response on a connection; the parser requires the `on_*` names."""

    def __init__(self, connection: socket.socket, *, has_body: bool, timeout: float | None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.stays_open = False
        self._has_body = has_body
        self._complete = False
        self._parser = HttpResponseParser(self)
        received = connection.recv(65536)
        deadline = time.monotonic() + (timeout or math.inf)
        length = 0
        while received:
            length += len(received)
            self._parser.feed_data(received)
            if self._complete:
                return
            if length > MOST_BYTES:
                raise OSError(f"the response has more than {MOST_BYTES} bytes")
            if timeout:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
            received = connection.recv(65536)
        raise OSError("connection closed before the end of the response")

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("unsolicited response")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        # Ask now: later the parser has forgotten it. After the response to a HEAD request the
        # parser waits for a body, and would take the next response for it.
        self.stays_open = self._has_body and self._parser.should_keep_alive()
        self._complete = not self._has_body

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.status < HTTPStatus.OK:
            self.headers.clear()  # informational: the final response follows
        else:
            self._complete = True


def has_something_to_read(connection: socket.socket) -> bool:
    """Return whether an idle connection was closed or has received unsolicited data."""
    poll = select.poll()  # not select(), which does not support descriptors over 1023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def translate(error: BaseException) -> BaseException:
    if isinstance(error, TimeoutError):
        return ConnectionTimeout("no answer in time", errors=(error,))
    if isinstance(error, ssl.SSLError):
        return TlsError(str(error), errors=(error,))
    if isinstance(error, OSError | HttpParserError):
        return ConnectionError(str(error) or type(error).__name__, errors=(error,))
    return error
