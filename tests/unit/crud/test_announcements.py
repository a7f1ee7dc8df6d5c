"""Announcements of changed chats: what waits goes out together, and no error ends them."""

import threading
import time
from typing import Any

import pytest
import redis

from contract.changed_chats import ChatKey, decode
from crud_service.chat.announcements import MOST_WAITING, PAUSE_SECONDS, Announcer
from tests.polling import wait_until


class Channel:
    """A client that keeps what is published; its first errors come from a list."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.gate = threading.Event()
        self.is_reached = threading.Event()
        self.messages: list[list[ChatKey]] = []

    def publish(self, channel: str, message: str) -> None:
        self.is_reached.set()
        assert self.gate.wait(10)
        if self._errors:
            raise self._errors.pop()
        self.messages.append(decode(message.encode()).chats)


def announcing(channel: Any) -> Announcer:
    """Return an announcer that is publishing a first chat, until the channel's gate opens."""
    announcer = Announcer(channel)
    announcer.announce(("first", 1))
    assert channel.is_reached.wait(10)
    return announcer


def test_what_waits_goes_out_together_and_once() -> None:
    channel = Channel()
    announcer = announcing(channel)
    for chat in (("a", 1), ("b", 2), ("a", 1)):
        announcer.announce(chat)
    channel.gate.set()
    wait_until(lambda: len(channel.messages) == 2, 10)
    assert channel.messages == [[("first", 1)], [("a", 1), ("b", 2)]]


def test_what_follows_within_a_pause_goes_out_together() -> None:
    channel = Channel()
    channel.gate.set()
    announcer = announcing(channel)
    started = time.monotonic()
    for number in range(1, 201):
        announcer.announce(("a", number))
        time.sleep(0.0005)
    pauses = (time.monotonic() - started) / PAUSE_SECONDS
    wait_until(lambda: bool(channel.messages) and channel.messages[-1][-1] == ("a", 200), 10)
    assert sum(map(len, channel.messages)) == 201
    assert len(channel.messages) <= pauses + 3


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), ValueError("unforeseen")])
def test_an_error_costs_its_own_announcements_only(error: Exception) -> None:
    channel = Channel(error)
    announcer = announcing(channel)
    announcer.announce(("a", 1))
    channel.gate.set()
    wait_until(lambda: channel.messages == [[("a", 1)]], 10)


def test_no_more_waits_than_a_bound() -> None:
    channel = Channel()
    announcer = announcing(channel)
    for number in range(1, MOST_WAITING + 100):
        announcer.announce(("a", number))
    channel.gate.set()
    last = ("a", MOST_WAITING)
    wait_until(lambda: bool(channel.messages) and channel.messages[-1][-1] == last, 10)
    assert sum(map(len, channel.messages)) == 1 + MOST_WAITING
