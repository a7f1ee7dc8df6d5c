"""Chats and applications are deleted while everything is killed: whole, or not at all."""

import random
import threading
import time
from contextlib import suppress
from typing import NamedTuple

import httpx
import psutil
import psycopg
import pytest
import redis

from contract.keys import chat_sequence
from local_stack.ports import PLAIN_HTTP
from tests.fault.conftest import application
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once
from tests.fault.rig.verify import readiness, rows, wait_until_stored
from tests.polling import eventually, wait_until

pytestmark = pytest.mark.timeout(240)

# More than a batch of the eraser.
MESSAGES = 1100
ERASED_WITHIN_SECONDS = 90.0
READY_WITHIN_SECONDS = 60.0
CHILD = "a child of the worker"
# Most of what can be interrupted happens in the worker, whose children are replaced at once.
KILLS = (*[CHILD] * 15, "worker", "crud", "crud", "postgres", "valkey")

FILL = """
WITH chat AS (
    INSERT INTO chats (application_id, number, message_count, highest_number)
    SELECT id, 1, %(count)s, %(count)s FROM applications WHERE access_token = %(token)s
    RETURNING id
), counted AS (
    UPDATE applications SET chat_count = 1 WHERE access_token = %(token)s
)
INSERT INTO messages (chat_id, number, body)
SELECT id, number, 'erase me' FROM chat, generate_series(1, %(count)s) AS number
"""


class Target(NamedTuple):
    """An application with a chat, and the path of that of the two which is deleted."""

    token: str
    path: str


def prepare(stack: LinkedStack, number: int) -> Target:
    path = application(stack)
    token = path.rpartition("/")[2]
    with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(FILL, {"token": token, "count": MESSAGES})
    return Target(token, path if number % 2 else f"{path}/chats/1")


def kill(stack: LinkedStack, part: str, chance: random.Random) -> None:
    if part == CHILD:
        children = psutil.Process(stack.pid("worker")).children()
        if children:
            with suppress(psutil.NoSuchProcess):  # the last kill has only now ended it
                chance.choice(children).kill()
    else:
        kill_at_once(stack, part)


def delete(stack: LinkedStack, path: str) -> None:
    """Send a deletion once; a process that is killed meanwhile may leave it without an answer."""
    with suppress(httpx.TransportError):
        httpx.delete(f"{stack.crud_url}{path}", timeout=15, **PLAIN_HTTP)


def remains(stack: LinkedStack, target: Target) -> int:
    """How many messages there are, of an application that may be gone."""
    return int(rows(stack, f"SELECT count(*) FROM messages m JOIN chats c ON c.id = m.chat_id"
                    f" JOIN applications a ON a.id = c.application_id"
                    f" WHERE a.access_token = '{target.token}'")[0][0])  # fmt: skip


def verify(stack: LinkedStack, target: Target) -> str:
    """Check that nothing or everything is left; return what became of the target."""
    with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
        read = client.get(f"{stack.crud_url}/applications/{target.token}/chats/1/messages?limit=1")
        post = f"{stack.numbering_url}/applications/{target.token}/chats/1/messages"
        # Of a deletion that was cut off, creations wait for some seconds until it is decided.
        created = eventually(
            lambda: client.post(post, json={"body": "one more"}),
            lambda answer: answer.status_code != 503,
            30.0,
        )
    if read.status_code == 200:
        assert remains(stack, target) >= MESSAGES
        assert (created.status_code, created.json()["number"]) == (201, MESSAGES + 1)
        return "kept"
    expected = 404 if target.path.endswith(target.token) else 410
    assert (read.status_code, created.status_code) == (expected, expected)
    assert remains(stack, target) == 0
    return "deleted"


def test_deletions_killed_anywhere_come_out_whole_or_not_at_all(
    linked: LinkedStack, chance: random.Random
) -> None:
    targets = [prepare(linked, number) for number in range(len(KILLS))]
    for target, part in zip(targets, chance.sample(KILLS, len(KILLS)), strict=True):
        # What the last kill has ended would refuse the deletions until it is back.
        wait_until(lambda: readiness(linked.crud_url) == httpx.codes.OK, READY_WITHIN_SECONDS)
        deleting = threading.Thread(target=delete, args=(linked, target.path))
        deleting.start()
        time.sleep(chance.uniform(0, 0.15))
        kill(linked, part, chance)
        deleting.join()
    wait_until_stored(linked)
    pending = eventually(
        lambda: rows(linked, "SELECT count(*) FROM deletions"),
        lambda found: found == [(0,)],
        ERASED_WITHIN_SECONDS,
    )
    assert pending == [(0,)]
    outcomes = [verify(linked, target) for target in targets]
    assert "deleted" in outcomes
    texts = "SELECT count(*) FROM search_texts t WHERE NOT EXISTS"
    texts += " (SELECT FROM messages m WHERE m.id = t.message_id)"
    assert rows(linked, texts) == [(0,)]
    kept = {target.token for target, what in zip(targets, outcomes, strict=True) if what == "kept"}
    deleted = [target for target in targets if target.token not in kept]
    gone = [target.token for target in deleted if target.path.endswith(target.token)]
    found = rows(linked, "SELECT access_token FROM applications")
    assert not {token for (token,) in found} & set(gone)
    assert all(chat_sequence(token) not in keys_of(linked) for token in gone)


def keys_of(stack: LinkedStack) -> set[str]:
    with redis.Redis.from_url(stack.environment["REDIS_URL"], decode_responses=True) as client:
        return {key for key in client.scan_iter("sequence:*") if client.get(key) != "unknown"}
