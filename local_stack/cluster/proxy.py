"""nginx in front of several services of a kind, one port for each kind."""

import os
import resource
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from local_stack.layout import Layout
from local_stack.ports import LOOPBACK
from local_stack.process import Part

# Every path in here is relative to the proxy's directory.
CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
# What is not critical names requests with their paths, which have access tokens in them.
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{fronts}}}
"""
# As in ops/nginx.conf, which says why.
FRONT = """
    upstream {name} {{ {servers} keepalive 32; }}
    server {{
        listen {address};
        client_max_body_size 2m;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_read_timeout 75s;
        location / {{
            error_page 418 = @once;
            if ($request_method ~ "^(PUT|DELETE)$") {{ return 418; }}
            proxy_pass http://{name};
        }}
        location @once {{
            proxy_next_upstream off;
            proxy_pass http://{name};
        }}
    }}
"""
PROXY = "proxy"
# For the streams that two crud_services admit, two for each, and for requests.
MOST_CONNECTIONS = 48_000
OTHER_FILES = 100
# nginx can only do this in the workers of a master process.
WITH_ALL_FILES = ("/bin/sh", "-c", 'ulimit -n "$(ulimit -H -n)"; exec "$@"', "sh")
# Debian has nginx where only root looks for programs.
FURTHER_PATHS = ("/usr/sbin", "/usr/local/sbin")


class Front(NamedTuple):
    """One port of the proxy, and the local ports behind it."""

    port: int
    behind: Sequence[int]


def find_nginx() -> str | None:
    """Return the path of nginx, None where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *FURTHER_PATHS])
    return shutil.which("nginx", path=path)


def proxy(
    layout: Layout,
    program: str,
    host: str,
    fronts: Mapping[str, Front],
    is_ready: Callable[[], bool],
) -> Part:
    """Return nginx as a part of the stack.

    Args:
        layout: the stack's directory.
        program: the path of nginx.
        host: the address to listen on.
        fronts: what is behind each port, by names.
        is_ready: whether the services answer through it.
    """
    home = layout.directory / PROXY
    home.mkdir(mode=0o700, exist_ok=True)
    configuration = home / "nginx.conf"
    configuration.write_text(configure(host, fronts))
    command = (program, "-p", f"{home}/", "-c", str(configuration))
    return Part(PROXY, (*WITH_ALL_FILES, *command), is_ready=is_ready)


def configure(host: str, fronts: Mapping[str, Front]) -> str:
    """Return the configuration of nginx, for an address to listen on."""
    listened = f"[{host}]" if ":" in host else host
    blocks = [
        FRONT.format(name=name, address=f"{listened}:{front.port}", servers=servers(front.behind))
        for name, front in fronts.items()
    ]
    return CONFIGURATION.format(connections=count_connections(), fronts="".join(blocks))


def count_connections() -> int:
    """Return how many connections nginx may have, as far as it may open files."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, files - OTHER_FILES)


def servers(ports: Sequence[int]) -> str:
    """Return the servers of an upstream; one that refuses a connection is asked again after 1 s."""
    return " ".join(f"server {LOOPBACK}:{port} fail_timeout=1s;" for port in ports)
