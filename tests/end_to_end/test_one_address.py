"""Both services behind one address, with the configuration of nginx in `ops/`."""

from collections.abc import Iterator

import httpx
import pytest

from bench.running_stack import RunningStack
from chat_backend_client import Client
from local_stack.ports import PLAIN_HTTP, choose_port
from tests.nginx import documented, nginx, require_nginx
from tests.polling import wait_until


@pytest.fixture(scope="module")
def address(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of nginx, configured as in `ops/`, without TLS."""
    require_nginx()
    port = choose_port()
    directory = tmp_path_factory.mktemp("nginx")
    upstreams = {
        "127.0.0.1:3000": stack.crud_url.removeprefix("http://"),
        "127.0.0.1:8080": stack.numbering_url.removeprefix("http://"),
    }
    text = documented(port, directory, upstreams)
    url = f"http://127.0.0.1:{port}"
    with nginx(directory, text):
        wait_until(lambda: is_served(url), 60)
        yield url


def is_served(url: str) -> bool:
    try:
        return httpx.get(f"{url}/docs", **PLAIN_HTTP).status_code == 200
    except httpx.TransportError:
        return False


def test_a_client_does_everything_at_one_address(address: str) -> None:
    with Client(address, address) as client:
        application = client.application(client.create_application("One address")["access_token"])
        chat = application.chat(application.create_chat()["number"])
        assert chat.create_message("one")["number"] == 1
        assert chat.create_messages([{"body": "two"}, {"body": "three"}])["last_number"] == 3
        events = chat.follow(after=0)
        assert [next(events).message["number"] for _ in range(3)] == [1, 2, 3]
        assert [it["number"] for it in chat.messages(page_size=1)] == [1, 2, 3]
        assert chat.update_message(1, body="One")["body"] == "One"
        rotated = application.rotate()["access_token"]
        assert client.application(rotated).read()["chat_count"] == 1


def test_what_is_for_operators_is_not_there(address: str, client: httpx.Client) -> None:
    for path in ("/health/ready", "/metrics", "/internal/applications"):
        answer = client.get(address + path)
        assert (answer.status_code, answer.headers["Server"].partition("/")[0]) == (404, "nginx")
