"""A client of the numbering service that keeps every answer it got: raw HTTP/1.1, keep-alive.

Not `tests.api_client`: httpx does not say whether a request that failed had been sent, which
decides whether its creation may be missing; and 24 of its clients would be the bottleneck.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

TIMEOUT_SECONDS = 30


class Fate(Enum):
    """What a client knows about its request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status 0 when the request was never sent, or never answered."""

    fate: Fate
    status: int
    headers: dict[str, str]
    content: dict[str, Any]
    error: str = ""

    @property
    def changed_nothing(self) -> bool:
        """Whether the answer says that nothing was created."""
        if self.fate is not Fate.REFUSED:
            return False
        return self.status != 503 or "nothing was changed" in self.content.get("detail", "")


class Connection:
    """One connection at a time, opened again when it is gone."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, fields: dict[str, str], key: str = "") -> Reply:
        """One request, sent once."""
        try:
            reader, writer = await self._open()
        except OSError as error:
            return Reply(Fate.REFUSED, 0, {}, {}, repr(error))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                writer.write(render(path, fields, key))
                reply = await read_reply(reader)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            return Reply(Fate.UNKNOWN, 0, {}, {}, repr(error))
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # As every client does: the service closes connections when it stops.
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def aclose(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def render(path: str, fields: dict[str, str], key: str) -> bytes:
    body = json.dumps(fields).encode()
    lines = [f"POST {path} HTTP/1.1", "host: numbering", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *([f"idempotency-key: {key}"] if key else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    status = int(head[0].split(" ")[1])
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {name.lower(): value for name, value in pairs}
    content = json.loads(await reader.readexactly(int(headers["content-length"])))
    return Reply(Fate.ANSWERED if status == 201 else Fate.REFUSED, status, headers, content)
