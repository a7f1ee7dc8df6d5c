"""No backlog, of any length and any application, delays the next creation."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import psutil
import redis

from bench.running_stack import RunningStack
from contract import keys
from contract.entries import Entry, encode
from tests.api_client import Api
from tests.fault.rig.verify import wait_until_stored
from tests.tenants.conftest import IS_FULL_SIZE, PATIENCE

ENTRIES = 200_000 if IS_FULL_SIZE else 20_000
PAGE = 5_000
ANSWERED_SECONDS = 1.0

T = TypeVar("T")


def test_with_a_long_backlog_and_no_worker_cold_sequences_are_answered_at_once(
    stack: RunningStack, client: httpx.Client
) -> None:
    api = Api(client, stack.crud_url, stack.numbering_url)
    application = api.application("loud")
    chat, cold = api.chat(application), api.chat(application)
    assert api.message(cold, "stored before") == 1
    api.wait_for_numbers(f"{cold}/messages", [1])
    with frozen_worker(stack), redis.Redis.from_url(stack.environment["REDIS_URL"]) as store:
        fill_backlog(store, chat)
        assert api.message(cold, "in front of the loss") == 2
        forget_sequence(store, cold)
        forget_sequence(store, chat)

        seconds, number = timed(lambda: api.message(cold, "behind the loss"))
        assert (number, seconds < PATIENCE * ANSWERED_SECONDS) == (3, True), seconds
        seconds, number = timed(lambda: api.message(chat, "behind the backlog"))
        assert (number, seconds < PATIENCE * ANSWERED_SECONDS) == (ENTRIES + 1, True), seconds
        fresh = api.application("quiet")
        seconds, path = timed(lambda: api.chat(fresh))
        assert (path, seconds < PATIENCE * ANSWERED_SECONDS) == (f"{fresh}/chats/1", True), seconds
    wait_until_stored(stack)
    api.wait_for_numbers(f"{cold}/messages", [1, 2, 3])
    assert api.get(chat)["message_count"] == ENTRIES + 1


@contextmanager
def frozen_worker(stack: RunningStack) -> Iterator[None]:
    """Freeze every process of the worker."""
    parent = psutil.Process(stack.pid("worker"))
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


def fill_backlog(store: "redis.Redis", chat: str) -> None:
    """Add entries as the numbering script writes them, faster than HTTP could."""
    _, _, token, _, chat_number = chat.split("/")
    for first in range(1, ENTRIES + 1, PAGE):
        pipeline = store.pipeline(transaction=False)
        for number in range(first, first + PAGE):
            entry = Entry("", token, int(chat_number), number, f"message {number}", "test")
            pipeline.xadd(keys.ACCEPTED, encode(entry))
        pipeline.execute()
    store.set(keys.message_sequence(token, int(chat_number)), ENTRIES)


def forget_sequence(store: "redis.Redis", chat: str) -> None:
    """Delete the sequence of a chat's messages."""
    _, _, token, _, chat_number = chat.split("/")
    store.delete(keys.message_sequence(token, int(chat_number)))


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Return how many seconds a call took, and its result."""
    started = time.monotonic()
    found = act()
    return time.monotonic() - started, found
