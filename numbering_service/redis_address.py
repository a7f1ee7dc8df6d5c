"""The address of Redis and the handshake with it, from a redis:// or rediss:// URL."""

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Self

from redis.asyncio.connection import SSLConnection, parse_url

DEFAULT_PORT = 6379
CLIENT_NAME = "numbering"

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address, and what the handshake with it needs."""

    host: str
    port: int
    tls: SSLContext | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    client_name: str = CLIENT_NAME

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Parse a URL as redis-py does; raises ValueError for an invalid one."""
        options: dict[str, Any] = dict(parse_url(url))
        return cls(
            host=options.get("host", "localhost"),
            port=options.get("port", DEFAULT_PORT),
            tls=tls_context(options),
            username=options.get("username", ""),
            password=options.get("password", ""),
            database=options.get("db", 0),
            client_name=options.get("client_name", CLIENT_NAME),
        )

    def __str__(self) -> str:
        """The address for a log, without credentials."""
        return f"{self.host}:{self.port}"

    def handshake(self) -> list[Command]:
        commands: list[Command] = []
        if self.password:
            user = (self.username,) if self.username else ()
            commands.append(("AUTH", *user, self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return [*commands, ("CLIENT", "SETNAME", self.client_name)]


def tls_context(options: dict[str, Any]) -> SSLContext | None:
    """Return the TLS context that redis-py builds from a URL's ssl_* options; None without TLS."""
    if options.get("connection_class") is not SSLConnection:
        return None
    named = {name: value for name, value in options.items() if name.startswith("ssl_")}
    # Never connected: only its TLS context is used.
    return SSLConnection(**named).ssl_context.get()
