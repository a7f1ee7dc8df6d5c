"""nginx, as tests put it in front of the services."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_stack.applications import ROOT
from local_stack.cluster.proxy import find_nginx
from tests.hostile.wire import exchange, request
from tests.polling import wait_until

CONFIGURATION = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    {servers}
}}
"""
START_SECONDS = 10
DOCUMENTED = (ROOT / "ops" / "nginx.conf").read_text()


def require_nginx() -> str:
    """Return the path of nginx; skip the test where it is not installed."""
    if (program := find_nginx()) is None:
        pytest.skip("NO NGINX: requests are not tried through a proxy")
    return program


def documented(
    port: int, directory: Path, upstreams: Mapping[str, str], *, tls: bool = False
) -> str:
    """Return the content of `ops/nginx.conf` for a port of this machine.

    Args:
        port: to listen on.
        directory: that of the log, and with TLS of a certificate, chat.pem, and its key, chat.key.
        upstreams: servers in place of the documented ones.
        tls: whether it speaks TLS, and with it HTTP/2.
    """
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/var/log/nginx": str(directory),
        **upstreams,
    }
    text = DOCUMENTED
    if tls:
        changes["/etc/ssl/chat.example.com"] = f"{directory}/chat"
    else:
        changes[" ssl http2;"] = ";"
        text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE)
    for name, own in changes.items():
        assert name in text
        text = text.replace(name, own)
    return text


@contextmanager
def nginx(directory: Path, servers: str, *urls: str) -> Iterator[None]:
    """Run nginx with the content of its `http` block; wait until these URLs are alive."""
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, servers=servers))
    command = [require_nginx(), "-p", str(directory), "-c", str(configuration)]
    process = subprocess.Popen(command)

    def is_live(url: str) -> bool:
        try:
            return exchange(url, request("GET", "/health/live")).status == 200
        except ConnectionRefusedError:
            assert process.poll() is None
            return False

    try:
        for url in urls:
            wait_until(lambda url=url: is_live(url), START_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)
