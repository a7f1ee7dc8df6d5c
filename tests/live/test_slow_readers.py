"""A client that reads slowly lags and loses nothing, and delays nobody else."""

import time
from contextlib import suppress

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.fault.rig.processes import STOP_SECONDS
from tests.live.crud_process import crud_processes
from tests.live.listener import EndedError, Listener
from tests.polling import wait_until
from tests.stopwatch import Stopwatch

# More than the buffers of both kernels and of the server take up.
MESSAGES = 100
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


def post(api: Api, chat: str, body: str) -> int:
    """Create a message, asking again while its application is too far ahead of the persister."""
    while True:
        response = api.client.post(f"{api.numbering}{chat}/messages", json={"body": body})
        if response.status_code == 201:
            return int(response.json()["number"])
        assert response.json()["code"] == "overloaded", response.text
        time.sleep(0.1)


class SlowReader:
    """A follower with the smallest of buffers, which connects again as a browser does.

    TCP reports what was read in steps of some kilobytes, so a client that reads a byte a second
    can look like one that reads nothing, and be disconnected.
    """

    def __init__(self, url: str, path: str) -> None:
        self._url, self._path = url, path
        self.texts: dict[int, str] = {}
        self.created: list[int] = []
        self._listener = self._connect()

    def _connect(self, *lines: str) -> Listener:
        listener = Listener(self._url, self._path, *lines, buffer_bytes=SMALL_BUFFER)
        assert listener.next().type == "ready"
        return listener

    def read_a_byte(self) -> None:
        with suppress(ConnectionResetError):
            self._listener.read(10, size=1)

    def next(self) -> None:
        """Take the next event, of this connection or of one that begins where it ended."""
        try:
            event = self._listener.next()
        except EndedError:
            last = self._listener.stream.last_event_id
            self.close()
            self._listener = self._connect(f"Last-Event-ID: {last}")
            return
        self.texts[event.data["number"]] = event.data["body"]
        if event.type == "message.created":
            self.created.append(event.data["number"])

    def close(self) -> None:
        self._listener.__exit__()


@pytest.mark.timeout(240)
def test_a_reader_of_a_byte_a_second_loses_nothing_and_delays_nobody(
    stack: RunningStack, api: Api, chat: str
) -> None:
    path = f"{chat}/messages/stream"
    expected = list(range(2, MESSAGES + 2))
    with crud_processes(stack) as start, Listener((crud := start()).url, path) as fast:
        slow = [SlowReader(crud.url, path) for _ in range(5)]
        assert fast.next().type == "ready"
        before = crud.resident_kib()
        for number in expected:
            assert post(api, chat, f"{number} {BODY}") == number
        assert numbers_of(fast, MESSAGES) == expected
        for _ in range(SLOW_SECONDS):
            for reader in slow:
                reader.read_a_byte()
            time.sleep(1)
        grown = crud.peak_resident_kib() - before
        assert grown < 64 * MEGABYTE_KIB, f"{grown} KiB for what is not read"
        api.client.put(f"{api.crud}{chat}/messages/3", json={"body": "edited"})
        assert fast.next().data["body"] == "edited"
        for reader in slow:
            while len(reader.created) < MESSAGES or reader.texts.get(3) != "edited":
                reader.next()
            assert reader.created == expected
            reader.close()


def test_a_reader_that_takes_nothing_is_disconnected(
    stack: RunningStack, api: Api, chat: str
) -> None:
    with crud_processes(stack) as start:
        crud = start("Limits(write_seconds=2.0)")
        path = f"{chat}/messages/stream"
        with Listener(crud.url, path, buffer_bytes=SMALL_BUFFER) as stalled:
            assert stalled.next().type == "ready"
            for number in range(100):
                post(api, chat, f"{number} {BODY}")
            wait_until(lambda: stalled.is_left_by(crud), 60)
            with pytest.raises(EndedError):
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
        crud = start("Limits(write_seconds=1.0)")
        with Listener(crud.url, f"{chat}/messages/stream") as stream:
            stream.next()
            assert stream.quiet(4)
            api.message(chat, "after a while")
            assert stream.next().data["body"] == "after a while"


def test_a_stalled_reader_does_not_hold_up_the_end_of_the_process(
    stack: RunningStack, api: Api, chat: str
) -> None:
    path = f"{chat}/messages/stream"
    with crud_processes(stack) as start:
        crud = start()
        with (
            Listener(crud.url, path, buffer_bytes=SMALL_BUFFER) as stalled,
            Listener(crud.url, path) as fast,
        ):
            assert [stalled.next().type, fast.next().type] == ["ready", "ready"]
            for number in range(20):
                post(api, chat, f"{number} {BODY}")
            assert numbers_of(fast, 20) == list(range(2, 22))
            with Stopwatch() as watch:
                output = crud.stop()
            assert watch.seconds < STOP_SECONDS
            assert (crud.process.returncode, "Traceback" in output) == (0, False), output
            assert fast.rest() == []
            assert fast.is_complete
