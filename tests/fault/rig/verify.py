"""After a fault: what was answered is there, once, and everything else adds up.

Read over HTTP, as any client would; the stores are asked for what no client sees.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import psycopg
import redis

from bench.running_stack import RunningStack
from contract.keys import ACCEPTED
from local_stack.ports import PLAIN_HTTP
from tests.fault.rig.load import Creation, Load
from tests.polling import eventually, wait_until

# Generous: what is claimed is that it happens by itself, on a busy machine too.
STORED_WITHIN_SECONDS = 90.0


def wait_until_stored(stack: RunningStack) -> None:
    """Wait until both services are ready again and the backlog is empty."""
    seen = eventually(lambda: state(stack), lambda it: it == (200, 200, 0), STORED_WITHIN_SECONDS)
    assert seen == (200, 200, 0), f"crud, numbering, backlog: {seen}\n{stack.output()[-2000:]}"


def wait_until_chat_is_stored(stack: RunningStack, application: str, number: int = 1) -> None:
    """Wait until an application's chat can be read."""
    url = f"{stack.crud_url}{application}/chats/{number}"
    wait_until(lambda: status_of(url) == 200, STORED_WITHIN_SECONDS, stack.output)


def state(stack: RunningStack) -> tuple[int, int, int]:
    return readiness(stack.crud_url), readiness(stack.numbering_url), backlog(stack)


def readiness(url: str) -> int:
    return status_of(f"{url}/health/ready")


def status_of(url: str) -> int:
    """Return the status of an answer, 0 if there is none."""
    try:
        return httpx.get(url, timeout=15, **PLAIN_HTTP).status_code
    except httpx.TransportError:
        return 0


def backlog(stack: RunningStack) -> int:
    """Return how many entries wait, -1 if Redis does not answer."""
    if stack.environment.get("SHARDS", "1") != "1":
        return backlog_of_shards(stack)
    url = stack.environment["REDIS_URL"]
    with redis.Redis.from_url(url, socket_timeout=5, retry=None) as client:
        try:
            return int(client.xlen(ACCEPTED))
        except redis.RedisError:
            return -1


def backlog_of_shards(stack: RunningStack) -> int:
    """Return what crud_service says, which asks all shards."""
    try:
        text = httpx.get(f"{stack.crud_url}/metrics", timeout=15, **PLAIN_HTTP).text
    except httpx.TransportError:
        return -1
    found = re.search(r"^chat_backlog_entries (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else -1


def verify(stack: RunningStack, load: Load) -> int:
    """Compare what the clients know with what there is; how many answered creations are lost."""
    assert load.figures.complaints == [], load.figures.complaints
    with httpx.Client(base_url=stack.crud_url, timeout=60, **PLAIN_HTTP) as client:
        lost = verify_chats(client, load)
    assert rows(stack, "SELECT count(*) FROM conflicts") == [(0,)]
    assert rows(stack, "SELECT reason FROM set_aside_entries LIMIT 5") == []
    return lost


def verify_chats(client: httpx.Client, load: Load) -> int:
    """Check an application's chats, and the messages of each."""
    path = load.application
    chats = [creation for creation in load.creations if creation.chat_number is None]
    found = get(client, f"{path}/chats")
    numbers = [chat["number"] for chat in found]
    assert numbers == list(range(1, len(numbers) + 1)), "chats are numbered 1..N"
    assert get(client, path)["chat_count"] == len(numbers)
    lost = verify_numbers(chats, numbers)
    messages: dict[int, list[Creation]] = defaultdict(list)
    for creation in load.creations:
        if creation.chat_number is not None:
            messages[creation.chat_number].append(creation)
    for chat in found:
        lost += verify_messages(client, f"{path}/chats/{chat['number']}", chat, messages)
    return lost


def verify_numbers(creations: Sequence[Creation], numbers: Sequence[int]) -> int:
    """Every answered number is there and was answered once; the rest may exist."""
    answered = Counter(creation.number for creation in creations if creation.number is not None)
    assert [number for number, times in answered.items() if times > 1] == [], "repeated numbers"
    unknown = sum(creation.number is None and creation.may_exist for creation in creations)
    assert len(set(numbers) - set(answered)) <= unknown, "numbers that nobody asked for"
    return len(set(answered) - set(numbers))


def verify_messages(
    client: httpx.Client, path: str, chat: dict[str, Any], asked_for: dict[int, list[Creation]]
) -> int:
    """Check the messages of one chat; how many answered ones are not there as they were sent."""
    creations = asked_for[chat["number"]]
    found = get(client, f"{path}/messages")
    numbers = [message["number"] for message in found]
    assert numbers == list(range(1, len(numbers) + 1)), f"messages of {path} are numbered 1..N"
    assert chat["message_count"] == len(numbers)
    bodies = {message["number"]: message["body"] for message in found}
    assert duplicates(bodies.values()) == [], "messages that are there twice"
    assert set(bodies.values()) <= {each.body for each in creations if each.may_exist}
    verify_numbers(creations, numbers)
    answered = [each for each in creations if each.number is not None]
    return sum(bodies.get(each.number) != each.body for each in answered)


def duplicates(values: Iterable[str]) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]


def get(client: httpx.Client, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def rows(stack: RunningStack, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        return connection.execute(query).fetchall()
