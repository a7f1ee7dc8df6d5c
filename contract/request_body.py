"""The body of a request, taken from ASGI as it arrives."""

from contract.fields import MAX_REQUEST_BYTES
from contract.http_server import Receive


class ClientGoneError(Exception):
    """The client closed its connection before its request was complete."""


async def read_body(receive: Receive) -> tuple[bytes, bool]:
    """A body, and whether that is all of it; raises ClientGoneError.

    Of one that has more than MAX_REQUEST_BYTES no more is taken than tells so.
    """
    body = bytearray()
    more = True
    while more and len(body) <= MAX_REQUEST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body), not more
