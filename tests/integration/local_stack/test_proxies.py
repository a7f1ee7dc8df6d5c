"""What the proxies that come with the services do when a service dies without a response."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from local_stack.cluster.proxy import Front, configure
from local_stack.ports import PLAIN_HTTP, choose_port
from tests.nginx import documented, nginx, require_nginx
from tests.polling import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Dying:
    """A service that answers GETs, and closes the connection on any other request it has read."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.received: list[str] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reading:
            while method := reading.readline().decode().partition(" ")[0]:
                head = b"".join(iter(reading.readline, b"\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", head)
                body = reading.read(int(length[1])) if length else b""
                self.received.append(f"{method} {body.decode()}".rstrip())
                if method != "GET":
                    return
                connection.sendall(ANSWER)


@contextmanager
def dying() -> Iterator[Dying]:
    service = Dying()
    try:
        yield service
    finally:
        service.listening.close()


def of_the_guide(port: int, behind: list[int], directory: Path) -> str:
    """The content of ops/nginx.conf without TLS, with these services as crud_service."""
    servers = " ".join(f"server 127.0.0.1:{each};" for each in behind)
    return documented(port, directory, {"server 127.0.0.1:3000;": servers})


def of_the_cluster(port: int, behind: list[int], _: Path) -> str:
    """The servers in the configuration of `make run CLUSTER=1`."""
    text = configure("127.0.0.1", {"crud": Front(port, behind)})
    return text[text.index("    upstream") :].rstrip().removesuffix("}")


@pytest.mark.parametrize("configured", [of_the_guide, of_the_cluster])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_a_change_whose_response_is_lost_is_not_sent_again(
    configured: Callable[[int, list[int], Path], str], method: str, tmp_path: Path
) -> None:
    port = choose_port()
    url = f"http://127.0.0.1:{port}/applications"
    with dying() as one, dying() as other, httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        with nginx(tmp_path, configured(port, [one.port, other.port], tmp_path)):
            wait_until(lambda: is_served(client, url), 10)
            # Kept connections are those that nginx gives a second try even if there is one service.
            assert client.request(method, url, content=b"body").status_code == 502
        changes = [each for each in one.received + other.received if each != "GET"]
    assert changes == [f"{method} body"]


def test_no_log_holds_a_token_when_a_service_dies(tmp_path: Path) -> None:
    port = choose_port()
    url = f"http://127.0.0.1:{port}/applications"
    with dying() as service, httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        with nginx(tmp_path, of_the_guide(port, [service.port], tmp_path)):
            wait_until(lambda: is_served(client, url), 10)
            assert client.put(f"{url}/a-token", content=b"body").status_code == 502
        logged = [path.read_text() for path in tmp_path.glob("*.log")]
    assert logged
    assert not any("a-token" in text for text in logged)


def test_browsers_are_offered_http_2(tmp_path: Path) -> None:
    require_nginx()
    if shutil.which("openssl") is None:
        pytest.skip("NO OPENSSL: install it to have the proxy tried with a certificate")
    make_certificate(tmp_path)
    port = choose_port()
    context = ssl.create_default_context(cafile=str(tmp_path / "chat.pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])

    def offered() -> str | None:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=15) as plain,
                context.wrap_socket(plain, server_hostname="chat.example.com") as secure,
            ):
                return secure.selected_alpn_protocol()
        except ConnectionRefusedError:
            return None

    with nginx(tmp_path, documented(port, tmp_path, {}, tls=True)):
        wait_until(lambda: offered() is not None, 10)
        assert offered() == "h2"


def make_certificate(directory: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=chat.example.com"
    names = "-addext subjectAltName=DNS:chat.example.com -keyout chat.key -out chat.pem"
    subprocess.run(
        [*command.split(), *names.split()], cwd=directory, capture_output=True, check=True
    )


def is_served(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False
