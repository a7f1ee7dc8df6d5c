"""Services that are killed while clients create and follow."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.running_stack import RunningStack
from tests.clients.callers import Caller
from tests.clients.conftest import new_caller

pytestmark = pytest.mark.timeout(400)

MESSAGES = 250


@pytest.mark.parametrize("kind", ["python", "asyncio", "node"])
def test_every_number_comes_once_and_in_order_through_kills(
    stack: RunningStack, chat: tuple[str, int], kind: str
) -> None:
    with (
        new_caller(kind, stack) as writer,
        new_caller(kind, stack) as follower,
        ThreadPoolExecutor() as threads,
    ):
        following = threads.submit(follower.call, chat, "follow", after=0, take=MESSAGES)
        writing = threads.submit(create, writer, chat)
        for name in ("numbering", "crud"):
            stack.kill(name)
        created = writing.result(timeout=200)
        followed = [event["message"] for event in following.result(timeout=200)]
    assert created == [*range(1, MESSAGES + 1)]
    assert [message["number"] for message in followed] == created
    assert [message["body"] for message in followed] == [f"body {n}" for n in range(MESSAGES)]


def create(writer: Caller, chat: tuple[str, int]) -> list[int]:
    """Create messages one after the other; return their numbers."""
    return [
        writer.call(chat, "create_message", f"body {number}")["number"]
        for number in range(MESSAGES)
    ]
