"""Where Redis is and how to introduce ourselves, from a redis://, rediss:// or unix:// URL."""

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Self

from redis.asyncio.connection import SSLConnection, parse_url

DEFAULT_PORT = 6379
CLIENT_NAME = "numbering"

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and what a connection to it begins with."""

    host: str
    port: int
    path: str = ""
    tls: SSLContext | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    client_name: str = CLIENT_NAME

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read a URL as redis-py reads it; raises ValueError for one that will not do."""
        options: dict[str, Any] = dict(parse_url(url))
        return cls(
            host=options.get("host", "localhost"),
            port=options.get("port", DEFAULT_PORT),
            path=options.get("path", ""),
            tls=tls_context(options),
            username=options.get("username", ""),
            password=options.get("password", ""),
            database=options.get("db", 0),
            client_name=options.get("client_name", CLIENT_NAME),
        )

    def __str__(self) -> str:
        """The address for a log, without credentials."""
        return self.path or f"{self.host}:{self.port}"

    def handshake(self) -> list[Command]:
        """The commands that a connection begins with."""
        commands: list[Command] = []
        if self.password:
            user = (self.username,) if self.username else ()
            commands.append(("AUTH", *user, self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return [*commands, ("CLIENT", "SETNAME", self.client_name)]


def tls_context(options: dict[str, Any]) -> SSLContext | None:
    """The TLS context that redis-py makes of a URL's ssl_* options; None without TLS."""
    if options.get("connection_class") is not SSLConnection:
        return None
    named = {name: value for name, value in options.items() if name.startswith("ssl_")}
    # Never connected: it is asked for its TLS context alone.
    return SSLConnection(**named).ssl_context.get()
