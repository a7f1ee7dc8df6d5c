"""Services that are killed while clients create and follow."""

import shutil
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.clients.callers import CALLERS, Caller, Target
from tests.clients.conftest import new_caller

pytestmark = pytest.mark.timeout(400)

MESSAGES = 250


def test_every_number_comes_once_and_in_order_through_kills(stack: RunningStack, api: Api) -> None:
    """All clients are at work through the same kills, each with a chat of its own."""
    application = api.application()
    with ExitStack() as callers, ThreadPoolExecutor(2 * len(CALLERS)) as threads:
        pairs = [
            [callers.enter_context(new_caller(kind, stack)) for _ in range(2)]
            for kind in CALLERS
            if kind != "node" or shutil.which("node")
        ]
        started = [
            Work.start(writer, follower, threads, chat_of(api.chat(application)))
            for writer, follower in pairs
        ]
        for name in ("numbering", "crud"):
            stack.kill(name)
        for work in started:
            work.expect_everything()


def chat_of(path: str) -> Target:
    _, _, token, _, number = path.split("/")
    return token, int(number)


@dataclass
class Work:
    """A client that creates messages, and another of the same kind that follows them."""

    kind: str
    writing: Future[list[int]]
    following: Future[list[dict[str, Any]]]

    @classmethod
    def start(cls, writer: Caller, follower: Caller, threads: Executor, chat: Target) -> Self:
        following = threads.submit(follower.call, chat, "follow", after=0, take=MESSAGES)
        return cls(type(writer).__name__, threads.submit(create, writer, chat), following)

    def expect_everything(self) -> None:
        created = self.writing.result(timeout=200)
        followed = [event["message"] for event in self.following.result(timeout=200)]
        assert created == [*range(1, MESSAGES + 1)], self.kind
        assert [message["number"] for message in followed] == created, self.kind
        bodies = [message["body"] for message in followed]
        assert bodies == [f"body {n}" for n in range(MESSAGES)], self.kind


def create(writer: Caller, chat: Target) -> list[int]:
    """Create messages one after the other; return their numbers."""
    return [
        writer.call(chat, "create_message", f"body {number}")["number"]
        for number in range(MESSAGES)
    ]
