"""Which requests want a stream or a list that waits; all others go their ordinary way."""

import pytest

from contract.paths import MAX_NUMBER
from crud_service.live.cursor import Start
from crud_service.live.wanted import (
    ApplicationStream,
    ChatStream,
    WaitingList,
    Wanted,
    concerns_live,
    wanted,
)
from web.server.request import Request

TOKEN = "a1" * 12
APPLICATION = f"/applications/{TOKEN}"
MESSAGES = f"{APPLICATION}/chats/3/messages"
NOW = Start(None, None)


def request(target: str, method: str = "GET", last_event_id: str | None = None) -> Request:
    path, _, query = target.partition("?")
    headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
    raw, raw_query = path.encode(), query.encode()
    return Request(None, method, path, raw, raw_query, "1.1", headers, b"", 0.0)


@pytest.mark.parametrize(
    ("target", "want"),
    [
        (f"{APPLICATION}/stream", ApplicationStream(TOKEN)),
        (f"{APPLICATION}/stream/", ApplicationStream(TOKEN)),
        (f"{MESSAGES}/stream", ChatStream(TOKEN, 3, NOW)),
        (f"{MESSAGES}/stream/?after=7", ChatStream(TOKEN, 3, Start(7, None))),
        (f"{MESSAGES}/stream?last_event_id=7.2", ChatStream(TOKEN, 3, Start(7, 2))),
        (f"{MESSAGES}/stream?after=7&utm=%FF", ChatStream(TOKEN, 3, Start(7, None))),
        (f"{MESSAGES}?after=7&wait=5", WaitingList(TOKEN, 3, 7, 5)),
        (f"{MESSAGES}/?wait=60", WaitingList(TOKEN, 3, 0, 60)),
        (f"{MESSAGES}?after=7&wait=5&limit=1&order=asc", WaitingList(TOKEN, 3, 7, 5)),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_streams_and_waiting_lists_are_wanted(target: str, want: Wanted, method: str) -> None:
    asked = request(target, method)
    assert concerns_live(asked)
    assert wanted(asked) == want


@pytest.mark.parametrize(
    "target",
    [
        f"{MESSAGES}?wait=0",
        f"{MESSAGES}?wait=61",
        f"{MESSAGES}?wait=5&after=x",
        f"{MESSAGES}?wait=5&before=9",
        f"{MESSAGES}?wait=%FF",
        f"{MESSAGES}/stream?after=-1",
        f"{MESSAGES}/stream?last_event_id=x",
        f"{MESSAGES}/stream?last_event_id=%FF",
        f"{MESSAGES}/1/stream",
        f"{APPLICATION}/chats/stream",
        f"{APPLICATION}/chats/{MAX_NUMBER + 1}/messages/stream",
        f"{APPLICATION}/chats/0/messages/stream",
        f"{APPLICATION}?wait=5",
        f"/applications/{TOKEN}x/stream",
        f"{APPLICATION}/stream//",
        "/stream",
    ],
)
def test_mistakes_and_other_paths_go_their_ordinary_way(target: str) -> None:
    assert wanted(request(target)) is None


@pytest.mark.parametrize("query", ["", "?last_event_id=x", "?last_event_id=1.0", "?after=x"])
@pytest.mark.parametrize("last_event_id", [None, "x", "4711", "1.0"])
def test_a_stream_of_an_application_ignores_where_another_one_ended(
    query: str, last_event_id: str | None
) -> None:
    """Browsers send the id of the last event, and give up on anything but 200."""
    asked = request(f"{APPLICATION}/stream{query}", last_event_id=last_event_id)
    assert wanted(asked) == ApplicationStream(TOKEN)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "other"])
def test_other_methods_go_their_ordinary_way(method: str) -> None:
    assert wanted(request(f"{MESSAGES}/stream", method)) is None


def test_a_malformed_header_goes_the_ordinary_way_though_the_query_would_do() -> None:
    asked = request(f"{MESSAGES}/stream?last_event_id=1.0", last_event_id="x")
    assert wanted(asked) is None


def test_most_requests_do_not_concern_live() -> None:
    assert not concerns_live(request(MESSAGES))
    assert not concerns_live(request(f"{MESSAGES}/1"))
