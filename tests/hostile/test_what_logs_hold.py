"""After all attacks, no log of any process contains an access token or a secret."""

import psycopg

from tests.hostile.conftest import Ground
from tests.hostile.wire import exchange, request
from tests.polling import wait_until

LAST = "the-last-of-these"
SECRETS = ("INTERNAL_TOKEN", "SECRET_KEY", "ADMIN_PASSWORD")


def odd_requests(token: str) -> list[bytes]:
    """Return requests with a token where one may end up by mistake."""
    path = f"/applications/{token}"
    paths = [
        *(f"{path}x/chats", f"{path}chats", f"{path}_/chats", f"{path}-", f"x{token}", f"/{token}"),
        *(f"{path}%20/chats", f"{path}%2Fchats", f"//{token}//", f"{path};{token}", f"{path}%00"),
        *(f"/%61pplications/{token}/chats/abc", f"/nothing?token={token}", f"/{token}{token}"),
        *(f"{path}é", "/" + "a" * 500 + token),
    ]
    words = [
        request("GET", "/nothing", b"", f"{name}: {token}")
        for name in ("Authorization", "Cookie", "Referer", "User-Agent", "X-Forwarded-For")
    ]
    bodies = [request("POST", f"{path}/chats/1/messages", f"{token}{{".encode())]
    whole = [request(method, each) for each in paths for method in ("GET", "POST")]
    return [*whole, *words, *bodies, f"{token} {token} HTTP/1.1\r\n\r\n".encode()]


def test_no_log_holds_an_access_token_or_a_secret(ground: Ground) -> None:
    logs = ground.stack.layout.logs
    for name, url in (("crud", ground.crud), ("numbering", ground.numbering)):
        for raw in odd_requests(ground.application.rpartition("/")[2]):
            exchange(url, raw)
        exchange(url, request("GET", "/nothing", b"", f"X-Request-ID: {LAST}"))
        # Lines are written in order, some time after the responses.
        wait_until(lambda log=logs / f"{name}.log": LAST in log.read_text(errors="replace"), 60)
    with psycopg.connect(ground.stack.environment["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT access_token FROM applications").fetchall()
    kept_quiet = [token for (token,) in rows]
    kept_quiet += [ground.stack.environment[name] for name in SECRETS]
    assert {"crud.log", "numbering.log", "worker.log"} <= {log.name for log in logs.iterdir()}
    for log in sorted(logs.iterdir()):
        text = log.read_text(errors="replace")
        found = [secret[:4] for secret in kept_quiet if secret in text]
        assert not found, (log.name, found)
