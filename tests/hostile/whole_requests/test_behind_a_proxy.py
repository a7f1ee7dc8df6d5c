"""Behind nginx, whose connections to us are shared by all clients, requests never mix."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from local_stack.ports import choose_port
from tests.hostile.conftest import BEFORE, Ground
from tests.hostile.whole_requests.corpus import Shot, creations, reads_and_edits
from tests.hostile.whole_requests.test_whole_requests import check_created, in_a_row
from tests.hostile.whole_requests.volley import Return, check, check_own, fire, load
from tests.hostile.wire import Connection
from tests.nginx import nginx, require_nginx

SERVERS = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
    proxy_set_header Host $http_host;
    proxy_request_buffering {buffering};
    upstream crud {{ server {crud}; keepalive 2; }}
    upstream numbering {{ server {numbering}; keepalive 2; }}
    server {{ listen 127.0.0.1:{crud_port}; location / {{ proxy_pass http://crud; }} }}
    server {{ listen 127.0.0.1:{numbering_port}; location / {{ proxy_pass http://numbering; }} }}
"""
CUTS = 12
ROUNDS = 4


class Proxy(NamedTuple):
    """nginx in front of both services."""

    crud: str
    numbering: str


@pytest.fixture(scope="module", params=["on", "off"])
def proxy(
    request: pytest.FixtureRequest, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    require_nginx()
    ports = choose_port(), choose_port()
    servers = SERVERS.format(
        buffering=request.param,
        crud=ground.crud.removeprefix("http://"),
        numbering=ground.numbering.removeprefix("http://"),
        crud_port=ports[0],
        numbering_port=ports[1],
    )
    running = Proxy(*(f"http://127.0.0.1:{port}" for port in ports))
    with nginx(tmp_path_factory.mktemp("nginx"), servers, *running):
        yield running


@pytest.fixture(scope="module")
def target(ground: Ground) -> str:
    return ground.api.chat(ground.application)


def volley(url: str, shot: Shot, neighbour: Shot) -> list[Return]:
    """Shots cut at some places, with others of another client between them."""
    row = in_a_row([shot])
    raw = [each.raw for each in row]
    length = sum(map(len, raw))
    cuts = range(1, length, max(1, length // CUTS))
    others = in_a_row([neighbour])
    found = []
    for _ in range(ROUNDS):
        found += fire(url, [load(raw, [cut]) for cut in cuts], head_first=shot.is_head)
        beside = fire(url, [load([each.raw for each in others])])
        for back in beside:
            check(back, others)
        found += beside
    return found


def check_answers(shot: Shot, back: Return) -> None:
    """Ours where a proxy must pass the request on; its own refusal is fine for what is refused."""
    ours = [reply for reply in back.replies if "x-request-id" in reply.headers]
    if shot.passes_proxies:
        check(back, in_a_row([shot]))
    elif all(reply.status != 400 for reply in ours):
        check_own(Return(back.bullet, ours))


@pytest.mark.parametrize("name", creations(""))
def test_creations_through_a_proxy_are_their_senders_own(
    ground: Ground, proxy: Proxy, target: str, name: str
) -> None:
    shots = creations(target)
    sent = volley(proxy.numbering, shots[name], shots["plain"])
    texts: list[str] = []
    for back in sent:
        is_neighbour = len(back.bullet.pieces) == 1
        shot = shots["plain"] if is_neighbour else shots[name]
        check_answers(shot, back)
        texts += shot.stored[: sum(reply.status == 201 for reply in back.replies)]
    check_created(ground, target, sent, texts)


@pytest.mark.parametrize("name", reads_and_edits(""))
def test_reads_and_edits_through_a_proxy_are_their_senders_own(
    ground: Ground, proxy: Proxy, name: str
) -> None:
    shots = reads_and_edits(ground.chat)
    sent = volley(proxy.crud, shots[name], shots["raw UTF-8 in the path"])
    for back in sent:
        is_neighbour = len(back.bullet.pieces) == 1
        check_answers(shots["raw UTF-8 in the path"] if is_neighbour else shots[name], back)
    expected = shots[name].stored[-1] if shots[name].stored else BEFORE
    assert ground.api.get(ground.message)["body"] == expected
    ground.restore()


def test_a_client_that_disconnects_behind_a_proxy_harms_no_other(
    ground: Ground, proxy: Proxy, target: str
) -> None:
    shots = creations(target)
    raw = shots["chunks of an upgrade"].raw
    sent = []
    for cut in range(1, len(raw), 20):
        Connection(proxy.numbering).send(raw[:cut]).close()
        sent += fire(proxy.numbering, [load([each.raw for each in in_a_row([shots["plain"]])])])
    for back in sent:
        check(back, in_a_row([shots["plain"]]))
    check_created(ground, target, sent, ["x"] * len(sent))
