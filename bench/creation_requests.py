"""What is posted in the benchmarks of creations, and the state that each load starts from."""

import random
from collections.abc import Sequence

import httpx
import orjson
from redis import Redis

from bench.dataset import APPLICATION_TOKEN, make_bodies
from bench.running_stack import wait_until
from bench.scenario import Run
from bench.stack import BenchStack
from bench.tools import Load, Request, load
from contract.keys import message_sequence

BODIES = 2_000
REWRITE_SECONDS = 60


def chat_requests(chats: int) -> list[Request]:
    """Messages with bodies of their own, to each chat in turn."""
    return requests_to([chat_path(number) for number in range(1, chats + 1)])


def requests_to(chats: Sequence[str]) -> list[Request]:
    """Messages with bodies of their own, to each of the chats with these paths in turn."""
    return [
        Request(f"{chats[position % len(chats)]}/messages", orjson.dumps({"body": body}).decode())
        for position, body in enumerate(make_bodies(random.Random(1), BODIES))
    ]


def chat_path(number: int) -> str:
    return f"/applications/{APPLICATION_TOKEN}/chats/{number}"


def post_warm(run: Run, url: str, requests: Sequence[Request], clients: int) -> Load:
    """A load of creations of the usual length, after a second of it that warms both sides up."""
    if run.sizes.warm_up:
        load(url, requests, clients=clients, seconds=1, method="POST")
    return load(url, requests, clients=clients, seconds=run.sizes.seconds, method="POST")


def create_chats(stack: BenchStack, count: int) -> list[str]:
    """An application with chats; returns the chats' paths."""
    with httpx.Client(timeout=15, trust_env=False) as client:
        made = client.post(f"{stack.crud_url}/applications", json={"name": "bench"})
        application = f"/applications/{made.raise_for_status().json()['access_token']}"
        chats = f"{stack.numbering_url}{application}/chats"
        numbers = [client.post(chats).raise_for_status().json()["number"] for _ in range(count)]
    return [f"{application}/chats/{number}" for number in numbers]


def empty(stack: BenchStack, requests: Sequence[Request]) -> None:
    """Start over: no entries, and sequences at nought as their chats' creation leaves them."""
    reset_sequences(stack, sequences(requests))


def reset_sequences(stack: BenchStack, keys: Sequence[str]) -> None:
    """Delete everything, and begin the sequences with these keys at nought."""
    with stack.redis() as client:
        client.flushall()
        client.mset(dict.fromkeys(keys, 0))
        # A log as short as the data, so that no load is the one that is rewritten under. Valkey may
        # have begun on its own, and refuses a second.
        wait_for_log(client)
        client.bgrewriteaof()
        wait_for_log(client)


def wait_for_log(client: "Redis") -> None:
    """Wait until Valkey has rewritten its log."""
    wait_until(lambda: not is_rewriting(client), REWRITE_SECONDS, "Valkey rewrites its log")


def is_rewriting(client: "Redis") -> bool:
    """Whether Valkey rewrites its log, or is about to."""
    info = client.info("persistence")
    return any(int(info[f"aof_rewrite_{state}"]) for state in ("in_progress", "scheduled"))


def sequences(requests: Sequence[Request]) -> list[str]:
    """The keys of the sequences of the chats that requests go to."""
    chats = {int(each.path.split("/")[4]) for each in requests}
    return [message_sequence(APPLICATION_TOKEN, chat) for chat in chats]
