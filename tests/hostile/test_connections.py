"""Connections by the thousand, slow ones, endless ones: other clients are still answered."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.hostile.conftest import Ground
from tests.hostile.wire import Connection, check_problem, exchange, request
from tests.polling import eventually, wait_until

# As many as this process may open, with some left for everything else.
IDLE = min(6000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2
# Nobody waits for the slow ones, who are given longer.
PROMPT_SECONDS = 10.0
# The services give a request 30 s to arrive.
PATIENCE_SECONDS = 40.0


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as connections:
        yield connections


def check_prompt(ground: Ground) -> None:
    """Check that reading and creating work without delay."""
    started = time.monotonic()
    assert ground.api.message(ground.chat, "meanwhile") == next(ground.expected)
    assert ground.api.get(ground.message)["number"] == 1
    for url in (ground.crud, ground.numbering):
        assert exchange(url, request("GET", "/health/live")).status == 200
    assert time.monotonic() - started < PROMPT_SECONDS


def test_thousands_of_idle_connections_delay_nobody(ground: Ground, opened: ExitStack) -> None:
    for url in (ground.crud, ground.numbering):
        for _ in range(IDLE):
            opened.enter_context(Connection(url))
    check_prompt(ground)


def test_connections_that_come_and_go_leave_nothing_behind(ground: Ground) -> None:
    for _ in range(300):
        for url in (ground.crud, ground.numbering):
            Connection(url).send(b"GET /health/live HT").close()
            Connection(url).send(request("GET", "/health/live")).close()
    check_prompt(ground)


def test_endless_requests_are_ended_and_delay_no_other(ground: Ground, opened: ExitStack) -> None:
    """Slow heads, slow bodies and stalled bodies, on both ports at once."""
    applications = ground.applications()
    slow = [opened.enter_context(Connection(url)) for url, _ in stalled(ground)]
    for connection, (_, data) in zip(slow, stalled(ground), strict=True):
        connection.socket.settimeout(PATIENCE_SECONDS)
        connection.send(data)
    check_prompt(ground)
    replies = [connection.read() for connection in slow]
    for reply in replies:
        assert reply is not None
        check_problem(reply, 408)
    assert ground.doors["edit message"].send_json('{"FIELD":"before"}').status == 200
    ground.check_untouched(applications)


def stalled(ground: Ground) -> list[tuple[str, bytes]]:
    """Return addresses, and requests that stop in the middle."""
    doors = ground.doors
    heads = [
        (url, b"GET /health/live HTTP/1.1\r\nX-A: b") for url in (ground.crud, ground.numbering)
    ]
    bodies = [
        (door.url, request(door.method, door.path, b"x" * 100)[:-50])
        for door in (doors["create message"], doors["edit message"], doors["create application"])
    ]
    return heads * 3 + bodies * 12


def test_clients_that_disconnect_early_cost_others_nothing(ground: Ground) -> None:
    """Each of their creations happened or not; the numbers continue without a gap."""
    door = ground.doors["create message"]
    for _ in range(100):
        Connection(door.url).send(request("POST", door.path, b'{"body":"and away"}')).close()

    def no_other_is_numbered() -> bool:
        first = ground.api.message(ground.chat, "the last but one")
        time.sleep(0.2)
        return ground.api.message(ground.chat, "meanwhile") == first + 1

    wait_until(no_other_is_numbered, 60)
    last = ground.api.message(ground.chat, "the last")
    numbers = eventually(
        lambda: ground.api.numbers(f"{ground.chat}/messages"), lambda it: it[-1] == last, 30
    )
    assert numbers == list(range(1, last + 1))
    while next(ground.expected) < last:
        pass
