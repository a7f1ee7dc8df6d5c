"""The connections of the Elasticsearch client, on the standard library's HTTP client.

A node of elastic-transport, which has every request go out through urllib3
otherwise: that took half of the time that a search spends here.
"""

import select
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import ClassVar

from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionError,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
)
from elastic_transport._node import NodeApiResponse  # which every node returns, and nothing exports
from elastic_transport.client_utils import DEFAULT, DefaultType


class HttpNode(BaseNode):
    """One node, reached by as many connections as there are requests at once."""

    _CLIENT_META_HTTP_CLIENT: ClassVar[tuple[str, str]] = ("hc", "1.0")

    def __init__(self, config: NodeConfig):
        super().__init__(config)
        self._tls: ssl.SSLContext | None = None
        if config.scheme == "https":
            self._tls = config.ssl_context or ssl.create_default_context(cafile=config.ca_certs)
        # Appending to a list and popping from it are atomic; nothing else is done with it.
        self._idle: list[HTTPConnection] = []

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Send a request; raises ConnectionError, ConnectionTimeout or TlsError."""
        timeout = self.config.request_timeout if request_timeout is DEFAULT else request_timeout
        connection = self._take_idle() or self._new_connection()
        started = time.monotonic()
        try:
            set_timeout(connection, timeout)
            connection.request(method, self.path_prefix + target, body, self._merge(headers))
            response = connection.getresponse()
            data = response.read()
        except BaseException as error:
            connection.close()
            raise translate(error) from error
        if not response.will_close:
            self._idle.append(connection)
        meta = ApiResponseMeta(
            status=response.status,
            http_version="1.1",
            headers=HttpHeaders(response.getheaders()),
            duration=time.monotonic() - started,
            node=self.config,
        )
        return NodeApiResponse(meta, data)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _merge(self, headers: HttpHeaders | None) -> dict[str, str]:
        return {**self.headers, **headers} if headers else dict(self.headers)

    def _new_connection(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self.host, self.port, context=self._tls)
        return HTTPConnection(self.host, self.port)

    def _take_idle(self) -> HTTPConnection | None:
        """A connection that was used before and that nobody has hung up on since."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not has_something_to_read(connection):
                return connection
            connection.close()


def has_something_to_read(connection: HTTPConnection) -> bool:
    """Whether an idle connection was closed, or says what nobody asked for."""
    poll = select.poll()  # and not select(), which knows no descriptor over 1023
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def set_timeout(connection: HTTPConnection, seconds: float | None) -> None:
    """How long connecting, and each read and write, may take."""
    connection.timeout = seconds
    if connection.sock is not None:
        connection.sock.settimeout(seconds)


def translate(error: BaseException) -> BaseException:
    """An error as the client's callers know it."""
    if isinstance(error, TimeoutError):
        return ConnectionTimeout("no answer in time", errors=(error,))
    if isinstance(error, ssl.SSLError):
        return TlsError(str(error), errors=(error,))
    if isinstance(error, OSError | HTTPException):
        return ConnectionError(str(error) or type(error).__name__, errors=(error,))
    return error
