"""Who gets access, and what the services reveal to strangers."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from contract.sequences import sequence_path
from local_stack.ports import PLAIN_HTTP
from tests.hostile.conftest import Ground
from tests.hostile.wire import check_problem, exchange, request
from tests.integration.conftest import crud_servers

ADMIN_TOKEN = "a-token-of-the-admin"
NOT_ADMITTED = [
    *("", "Bearer", "Bearer ", "Bearer wrong", f"Basic {ADMIN_TOKEN}", ADMIN_TOKEN),
    *(f"Bearer {ADMIN_TOKEN}x", f"Bearer {ADMIN_TOKEN[:-1]}", f"Bearer {ADMIN_TOKEN.upper()}"),
    *(f"Bearer {ADMIN_TOKEN},Bearer x", f"Token {ADMIN_TOKEN}", f'Bearer "{ADMIN_TOKEN}"'),
    f"Bearer {ADMIN_TOKEN}\r\nAuthorization: Bearer {ADMIN_TOKEN}",
    *(f"BearerBearer {ADMIN_TOKEN}", "Bearer \xff\xfe", "Bearer " + "x" * 20_000, "Bearer null"),
]
FORM = "Content-Type: application/x-www-form-urlencoded"
BANNERS = re.compile(r"granian|uvicorn|gunicorn|hyper|django|python|psycopg|traceback", re.I)


def test_only_applications_require_the_admin_token(ground: Ground) -> None:
    with crud_servers(ground.stack.environment) as start:
        crud = start(ADMIN_TOKEN=ADMIN_TOKEN)
        for given in NOT_ADMITTED:
            for method in ("GET", "POST"):
                header = b"Authorization: " + given.encode("latin-1")
                reply = exchange(crud.url, request(method, "/applications/?name=x", b"", header))
                check_problem(reply, 401)
                assert reply.headers["www-authenticate"] == "Bearer"
                assert ADMIN_TOKEN.encode() not in reply.body
        with httpx.Client(**PLAIN_HTTP, timeout=20) as client:
            head = client.head(f"{crud.url}/applications")
            assert (head.status_code, head.headers["WWW-Authenticate"]) == (401, "Bearer")
            check_open_to_its_owner(client, crud.url, ground.numbering)
        assert ADMIN_TOKEN not in crud.output()


def check_open_to_its_owner(client: httpx.Client, crud: str, numbering: str) -> None:
    """With the token applications are created; without it, owners can use theirs."""
    admitted = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    made = client.post(f"{crud}/applications", json={"name": "x"}, headers=admitted)
    assert made.status_code == 201
    assert made.json() in client.get(f"{crud}/applications", headers=admitted).json()
    path = f"/applications/{made.json()['access_token']}"
    assert client.get(f"{crud}{path}").status_code == 200
    assert client.put(f"{crud}{path}", json={"name": "y"}).status_code == 200
    assert client.post(f"{numbering}{path}/chats").status_code == 201


@pytest.mark.parametrize("path", ["", "/", "/1", "/1/"])
@pytest.mark.parametrize("given", ["", "Bearer wrong", "Bearer local-internal-token"])
def test_seeding_is_closed_to_strangers(ground: Ground, path: str, given: str) -> None:
    seeding = sequence_path(ground.application.rpartition("/")[2], None) + path
    header = b"Authorization: " + given.encode("latin-1")
    check_problem(exchange(ground.crud, request("GET", seeding, b"", header)), 401)
    check_problem(exchange(ground.numbering, request("GET", seeding, b"", header)), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health/live",
        "/nothing",
        "/docs",
        "/metrics",
        "/admin/login/",
        "/admin/nothing",
        "/%00",
    ],
)
def test_no_header_reveals_the_server_software(ground: Ground, path: str) -> None:
    for url in (ground.crud, ground.numbering):
        reply = exchange(url, request("GET", path))
        told = {name: value for name, value in reply.headers.items() if name != "content-type"}
        assert not BANNERS.search(str(told))
        assert reply.headers.get("server", "crud") == "crud"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "x-powered-by" not in reply.headers
        if reply.status >= 400:
            assert not BANNERS.search(reply.body.decode())


@pytest.mark.parametrize("password", ["", "admin", "password", "changeme", "local", "secret", "x"])
def test_the_admin_site_has_no_guessable_password(ground: Ground, password: str) -> None:
    with logged_in(ground, password, status=200) as client:
        assert "sessionid" not in client.cookies


def test_the_admin_site_requires_its_password(ground: Ground) -> None:
    with logged_in(ground, ground.stack.environment["ADMIN_PASSWORD"]) as client:
        assert "sessionid" in client.cookies
        assert client.get(f"{ground.crud}/admin/chat/message/").status_code == 200
    for path in ("/admin/", "/admin/chat/message/", "/admin/chat/application/1/change/"):
        reply = exchange(ground.crud, request("GET", path))
        assert reply.status == 302
        assert reply.headers["location"].startswith("/admin/login/?next=/admin/")


@contextmanager
def logged_in(ground: Ground, password: str, status: int = 302) -> Iterator[httpx.Client]:
    """A client that tried a password, which was looked at."""
    url = f"{ground.crud}/admin/login/"
    with httpx.Client(timeout=60, **PLAIN_HTTP) as client:
        client.get(url)
        token = client.cookies["csrftoken"]
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token}
        assert client.post(url, data=form).status_code == status
        yield client


def test_forged_forms_of_the_admin_site_are_refused(ground: Ground) -> None:
    body = b"username=admin&password=x"
    reply = exchange(ground.crud, request("POST", "/admin/login/", body, FORM))
    assert reply.status == 403
    assert not BANNERS.search(reply.body.decode().replace("CSRF", ""))


@pytest.mark.parametrize("secret", ["", "local-internal-token", "Changeme"])
def test_numbering_does_not_start_in_a_container_with_a_known_secret(secret: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "numbering_service"],
        env={"PATH": os.environ["PATH"], "CONTAINER": "1", "INTERNAL_TOKEN": secret},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "INTERNAL_TOKEN" in done.stderr
