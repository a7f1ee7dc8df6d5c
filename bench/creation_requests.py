"""What is posted in the benchmarks of creations, and the state that each load starts from."""

import random
from collections.abc import Sequence
from itertools import islice

import orjson
from redis import Redis

from bench.dataset import APPLICATION_TOKEN, make_bodies
from bench.running_stack import wait_until
from bench.stack import BenchStack
from bench.tools import Request
from contract.keys import message_sequence

BODIES = 2_000
REWRITE_SECONDS = 60


def chat_requests(chats: int) -> list[Request]:
    """Messages with bodies of their own, to each chat in turn."""
    rng = random.Random(1)
    bodies = make_bodies(rng, BODIES)
    return [
        Request(messages_path(1 + position % chats), orjson.dumps({"body": body}).decode())
        for position, body in enumerate(islice(bodies, BODIES))
    ]


def messages_path(chat: int) -> str:
    return f"/applications/{APPLICATION_TOKEN}/chats/{chat}/messages"


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
