"""Chats made through the API, and messages to post to them."""

import random
from itertools import islice

import httpx
import orjson

from bench.dataset import make_bodies
from bench.stack import BenchStack
from bench.tools import Request


def create_chats(stack: BenchStack, count: int) -> list[str]:
    """An application with chats; returns the chats' paths."""
    with httpx.Client(timeout=15, trust_env=False) as client:
        made = client.post(f"{stack.crud_url}/applications", json={"name": "bench"})
        application = f"/applications/{made.raise_for_status().json()['access_token']}"
        chats = f"{stack.numbering_url}{application}/chats"
        numbers = [client.post(chats).raise_for_status().json()["number"] for _ in range(count)]
    return [f"{application}/chats/{number}" for number in numbers]


def requests_to(chats: list[str], count: int) -> list[Request]:
    """Messages with bodies of their own, to each chat in turn."""
    bodies = islice(make_bodies(random.Random(1), count), count)
    return [
        Request(f"{chats[each % len(chats)]}/messages", orjson.dumps({"body": body}).decode())
        for each, body in enumerate(bodies)
    ]
