"""A client that reads slowly lags and loses nothing, and delays nobody else."""

import time

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.live.crud_process import crud_processes
from tests.live.listener import Listener

# More than the buffers of both kernels and of the server take up.
MESSAGES = 150
BODY = "x" * 60_000
SMALL_BUFFER = 4096
SLOW_SECONDS = 6
MEGABYTE_KIB = 1024


@pytest.fixture
def chat(api: Api) -> str:
    chat = api.chat(api.application())
    api.message(chat, "the first")
    api.wait_for_numbers(f"{chat}/messages", [1])
    return chat


def numbers_of(stream: Listener, count: int) -> list[int]:
    return [event.data["number"] for event in stream.take(count)]


@pytest.mark.timeout(240)
def test_a_reader_of_a_byte_a_second_loses_nothing_and_delays_nobody(
    stack: RunningStack, api: Api, chat: str
) -> None:
    path = f"{chat}/messages/stream"
    expected = list(range(2, MESSAGES + 2))
    with crud_processes(stack) as start:
        crud = start()
        slow = [Listener(crud.url, path, buffer_bytes=SMALL_BUFFER) for _ in range(10)]
        with Listener(crud.url, path) as fast:
            for stream in (*slow, fast):
                assert stream.next().type == "ready"
            before = crud.resident_kib()
            for number in expected:
                assert api.message(chat, f"{number} {BODY}") == number
            assert numbers_of(fast, MESSAGES) == expected
            for _ in range(SLOW_SECONDS):
                for stream in slow:
                    stream.read(10, size=1)
                time.sleep(1)
            grown = crud.peak_resident_kib() - before
            assert grown < 64 * MEGABYTE_KIB, f"{grown} KiB for what is not read"
            api.client.put(f"{api.crud}{chat}/messages/3", json={"body": "edited"})
            assert fast.next().data["body"] == "edited"
            for stream in slow:
                catch_up(stream, expected)
        for stream in slow:
            stream.__exit__()


def catch_up(stream: Listener, expected: list[int]) -> None:
    """Read all that a follower has missed, which ends with the latest text of each."""
    texts: dict[int, str] = {}
    created: list[int] = []
    while len(created) < len(expected) or texts.get(3) != "edited":
        event = stream.next()
        texts[event.data["number"]] = event.data["body"]
        if event.type == "message.created":
            created.append(event.data["number"])
    assert created == expected


def test_a_reader_that_takes_nothing_is_disconnected(
    stack: RunningStack, api: Api, chat: str
) -> None:
    with crud_processes(stack) as start:
        crud = start("from web.server import limits; limits.WRITE_SECONDS = 2.0")
        path = f"{chat}/messages/stream"
        with Listener(crud.url, path, buffer_bytes=SMALL_BUFFER) as stalled:
            assert stalled.next().type == "ready"
            for number in range(100):
                api.message(chat, f"{number} {BODY}")
            time.sleep(6)
            with pytest.raises((ConnectionResetError, AssertionError), match=r"reset|ended"):
                stalled.take(101)
            last = stalled.stream.last_event_id
        with Listener(crud.url, path, f"Last-Event-ID: {last}") as again:
            assert again.next().id == last
            following = int(last.partition(".")[0]) + 1
            assert numbers_of(again, 102 - following) == list(range(following, 102))


def test_an_idle_reader_is_not_disconnected_for_reading_nothing(
    stack: RunningStack, api: Api, chat: str
) -> None:
    """There is nothing to read between two events: that is no reason to close."""
    with crud_processes(stack) as start:
        crud = start("from web.server import limits; limits.WRITE_SECONDS = 1.0")
        with Listener(crud.url, f"{chat}/messages/stream") as stream:
            stream.next()
            assert stream.quiet(4)
            api.message(chat, "after a while")
            assert stream.next().data["body"] == "after a while"
