"""Ports: the two public ones must be free, those of the stores are chosen."""

import errno
import fcntl
import json
import os
import random
import shlex
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import psutil

from local_stack.failure import StackError
from local_stack.layout import read_json_file, write_atomically

LOOPBACK = "127.0.0.1"
# Options of httpx for processes at such an address. By default each of its clients loads the
# system's certificates: 25 ms of processor time, which a loop that asks whether a process has
# started takes from that process. This context trusts none.
PLAIN_HTTP: dict[str, Any] = {
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "trust_env": False,
}
# Below Linux's ephemeral range (32768 and up), where an outgoing connection might
# by chance use a port kept from the last run.
CHOSEN_FROM = range(20000, 32000)
SHOWN_OF_A_COMMAND = 70


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a TCP port can be listened on at an address."""
    return refusal(port, host) is None


def refusal(port: int, host: str) -> OSError | None:
    """Return why a TCP port can't be listened on at an address; None if it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def require_own_address(host: str) -> None:
    """Raise StackError if no port can be listened on at an address, since it is not ours."""
    if error := refusal(0, host):
        raise StackError(f"HOST={host} is not an address of this machine: {error.strerror}")


def reachable_host(host: str) -> str:
    """Return how a URL on this machine names the address that is listened on."""
    # The services that listen on all addresses of IPv6 listen on none of IPv4.
    reachable = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - not bound
    return f"[{reachable}]" if ":" in reachable else reachable


class Reservations:
    """Ports that this process has reserved, whether or not something listens on them yet.

    Each is a locked byte of one file: other processes of this user choose another port,
    and the kernel releases it when this process ends, for whatever reason.
    """

    def __init__(self) -> None:
        self._ports: set[int] = set()
        self._descriptor: int | None = None

    def reserve(self, port: int) -> bool:
        """Reserve a port; returns False when another process has it. Idempotent.

        Raises StackError if the file can't be opened.
        """
        # A POSIX lock belongs to the process, and closing any descriptor of the file
        # releases it. So there is one descriptor, which stays open.
        descriptor = self._open()
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except (BlockingIOError, PermissionError):
            return False
        self._ports.add(port)
        return True

    def _open(self) -> int:
        if self._descriptor is None:
            path = Path(tempfile.gettempdir()) / f"chat-backend-ports-{os.getuid()}"
            try:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                reason = f"{path} can't be opened ({error.strerror})"
                raise StackError(f"{reason}: set TMPDIR to a directory of yours") from error
        return self._descriptor

    def __contains__(self, port: int) -> bool:
        return port in self._ports


RESERVATIONS = Reservations()


def choose_port(taken: set[int] | None = None) -> int:
    """Choose a free port outside the ephemeral range and reserve it for this process."""
    for port in random.sample(CHOSEN_FROM, 200):
        is_taken = port in (taken or set()) or port in RESERVATIONS
        if not is_taken and RESERVATIONS.reserve(port) and is_free(port):
            return port
    raise StackError("no free port was found between 20000 and 32000")


def remembered_ports(path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Return a port for each store: that of the last run if it is still free."""
    known: dict[str, int] = read_json_file(path)
    ports: dict[str, int] = {}
    for name in names:
        port = known.get(name, 0)
        usable = port not in {0, *ports.values()} and RESERVATIONS.reserve(port) and is_free(port)
        ports[name] = port if usable else choose_port(set(ports.values()))
    if ports != known:
        write_atomically(path, json.dumps(ports), mode=0o644)
    return ports


def next_free(port: int, host: str, without: set[int]) -> int:
    """Return the first free port above a taken one.

    Args:
        port: the taken one.
        host: the address to listen on.
        without: ports that are not to be chosen.
    """
    candidates = (port + step for step in range(1, 1000) if port + step < 65536)
    free = (each for each in candidates if each not in without and is_free(each, host))
    return next(free, 0) or choose_port(without)


def why_not_free(port: int, host: str) -> str:
    """Say of a port that is not free who has it, or that this user may not have it."""
    error = refusal(port, host)
    if error and error.errno == errno.EACCES:
        return f"port {port} may not be used by this user"
    return f"port {port} is taken by {holder(port)}"


def holder(port: int) -> str:
    """Describe the process that listens on a port: its name, pid and command line."""
    try:
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if is_it and connection.pid:  # unknown if it is another user's process
                return describe(psutil.Process(connection.pid))
    except (psutil.Error, OSError):
        pass  # it has just ended
    return "a process that you may not see"


def describe(process: psutil.Process) -> str:
    name = f"{process.name()} (pid {process.pid})"
    command = shlex.join(process.cmdline())
    if len(command) > SHOWN_OF_A_COMMAND:
        command = command[: SHOWN_OF_A_COMMAND - 1] + "…"
    return f"{name} running {command}" if command else name
