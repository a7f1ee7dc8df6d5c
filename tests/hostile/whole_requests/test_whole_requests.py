"""However the network splits requests, both services answer and store them alike."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.hostile.conftest import BEFORE, Ground
from tests.hostile.whole_requests.corpus import Shot, ask, creations, reads_and_edits
from tests.hostile.whole_requests.volley import LAST, Bullet, Return, check, fire, load
from tests.polling import eventually

ALIVE = Shot(LAST, (200,), is_open=False)
PLAIN = Shot(ask("GET /health/live"), (200,))


@pytest.fixture(scope="module")
def target(ground: Ground) -> str:
    """The chat that messages are created in."""
    return ground.api.chat(ground.application)


def in_a_row(shots: Sequence[Shot]) -> list[Shot]:
    """Shots with a last request behind them, as far as the connection stays open."""
    row: list[Shot] = []
    for shot in (*shots, ALIVE):
        row.append(shot)
        if not shot.is_open:
            break
    return row


def bullets(row: Sequence[Shot], step: int = 1) -> list[Bullet]:
    """The same bytes cut at one place, in turn, once byte by byte, and once not at all.

    Behind the first request and its neighbour's start, places are further apart: what follows is
    the same in many rows.
    """
    raw = [shot.raw for shot in row]
    length = sum(map(len, raw))
    own = min(len(raw[0]) + 9, length)
    cuts = [(cut,) for cut in (*range(1, own, step), *range(own, length, 11))]
    return [load(raw, each) for each in (*cuts, range(1, length), ())]


def messages_after(ground: Ground, chat: str, number: int) -> list[dict[str, Any]]:
    """All messages of a chat behind a number."""
    found: list[dict[str, Any]] = []
    while True:
        page = ground.api.get(f"{chat}/messages?limit=1000&after={number}")
        found += page
        if len(page) < 1000:
            return found
        number = page[-1]["number"]


def check_created(ground: Ground, chat: str, sent: list[Return], expected: list[str]) -> None:
    """Each answered number holds its text, and nothing else was created."""
    numbers = [reply.number for back in sent for reply in back.replies if reply.status == 201]
    last = ground.api.message(chat, "the last")
    path = f"{chat}/messages?limit=1&after={last - 1}"
    assert eventually(lambda: ground.api.numbers(path), bool, 20) == [last]
    stored = messages_after(ground, chat, max(0, last - len(numbers) - 2))
    if last > len(numbers) + 1:
        assert stored.pop(0)["body"] == "the last"  # of the test before
    assert stored.pop()["body"] == "the last"
    assert sorted(numbers) == [message["number"] for message in stored]
    bodies = {message["number"]: message["body"] for message in stored}
    assert [bodies[number] for number in numbers] == expected


@pytest.mark.parametrize("name", creations(""))
def test_creations_are_stored_alike_wherever_they_are_split(
    ground: Ground, target: str, name: str
) -> None:
    shot = creations(target)[name]
    sent = fire(ground.numbering, bullets(row := in_a_row([shot])), head_first=shot.is_head)
    for back in sent:
        check(back, row)
    check_created(ground, target, sent, list(shot.stored) * len(sent))


@pytest.mark.parametrize("name", creations(""))
def test_creations_between_two_others_are_stored_alike(
    ground: Ground, target: str, name: str
) -> None:
    shots = creations(target)
    row = in_a_row([shots["plain"], shots[name], shots["plain"]])
    if shots[name].is_head:
        row = in_a_row([shots[name], shots["plain"], shots["plain"]])
    sent = fire(ground.numbering, bullets(row, 11), head_first=shots[name].is_head)
    for back in sent:
        check(back, row)
    texts = [text for shot in row for text in shot.stored]
    check_created(ground, target, sent, texts * len(sent))


@pytest.mark.parametrize("name", reads_and_edits(""))
def test_reads_and_edits_are_answered_alike_wherever_they_are_split(
    ground: Ground, name: str
) -> None:
    shot = reads_and_edits(ground.chat)[name]
    row = in_a_row([shot, PLAIN])
    sent = fire(ground.crud, bullets(row), head_first=shot.is_head)
    first_bodies = {back.replies[0].body for back in sent}
    for back in sent:
        check(back, row)
    expected = shot.stored[-1] if shot.stored else BEFORE
    assert ground.api.get(ground.message)["body"] == expected
    if shot.statuses == (200,) and not shot.stored:
        assert len(first_bodies) == 1
    ground.restore()


def test_a_list_for_http_1_0_has_no_chunks(ground: Ground) -> None:
    shot = reads_and_edits(ground.chat)["a list for an old version"]
    [back] = fire(ground.crud, [load([shot.raw])])
    assert "transfer-encoding" not in back.replies[0].headers
    assert back.replies[0].headers["connection"] == "close"
    assert back.replies[0].body.startswith(b'[{"number":1,')


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/nothing"]
)
@pytest.mark.parametrize("service", ["crud", "numbering"])
def test_head_answers_as_get_without_a_body(ground: Ground, service: str, path: str) -> None:
    url = getattr(ground, service)
    [got] = fire(url, [load([ask(f"GET {path}"), LAST])])
    [head] = fire(url, [load([ask(f"HEAD {path}"), LAST])], head_first=True)
    assert [reply.status for reply in head.replies] == [reply.status for reply in got.replies]
    assert head.replies[0].body == b""
    assert head.replies[0].headers["content-type"] == got.replies[0].headers["content-type"]
