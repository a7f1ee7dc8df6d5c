"""How soon a message is stored at human pace: no sending rate meets a sleeping worker."""

import statistics
import time
from uuid import uuid4

import pytest

from tests.api_client import Api
from tests.polling import eventually

# A machine that does something else besides needs longer than the few milliseconds of
# an idle one; a worker that has left needs a second.
READABLE_P50_SECONDS = 0.2
READABLE_SECONDS = 0.7
SEARCHABLE_P50_SECONDS = 1.5
SEARCHABLE_SECONDS = 4.0
MESSAGES = 9
GIVE_UP_SECONDS = 10.0

pytestmark = pytest.mark.timeout(500)


def wait_until_readable(api: Api, chat: str, number: int) -> None:
    url = f"{api.crud}{chat}/messages/{number}"
    eventually(lambda: api.client.get(url).status_code, (200).__eq__, GIVE_UP_SECONDS, pause=0.005)


def wait_until_found(api: Api, chat: str, word: str) -> None:
    path = f"{chat}/messages/search?keyword={word}"
    eventually(lambda: api.numbers(path), bool, GIVE_UP_SECONDS)


def lags(api: Api, chat: str, pace: float, count: int) -> list[float]:
    """Return the seconds from the answer until each message is readable."""
    seen = []
    for position in range(count):
        sent = time.monotonic()
        number = api.message(chat, f"message {position}")
        answered = time.monotonic()
        wait_until_readable(api, chat, number)
        seen.append(time.monotonic() - answered)
        time.sleep(max(0.0, sent + pace - time.monotonic()))
    return seen


@pytest.mark.parametrize("pace", [0.2, 0.5, 1.0, 1.5])
def test_a_message_is_readable_at_once_at_any_rate(api: Api, pace: float) -> None:
    chat = api.chat(api.application())
    seen = lags(api, chat, pace, MESSAGES)
    assert statistics.median(seen) < READABLE_P50_SECONDS, seen
    assert max(seen) < READABLE_SECONDS, seen


def test_a_message_is_readable_at_once_after_silence(api: Api) -> None:
    chat = api.chat(api.application())
    time.sleep(8)
    seen = lags(api, chat, 0, 1)
    assert max(seen) < READABLE_SECONDS, seen


@pytest.mark.parametrize("pace", [0.5, 1.5])
def test_a_message_is_searchable_soon_at_any_rate(api: Api, pace: float) -> None:
    chat = api.chat(api.application())
    seen = []
    for _ in range(MESSAGES):
        word = uuid4().hex
        api.message(chat, f"message {word}")
        answered = time.monotonic()
        wait_until_found(api, chat, word)
        seen.append(time.monotonic() - answered)
        time.sleep(max(0.0, answered + pace - time.monotonic()))
    assert statistics.median(seen) < SEARCHABLE_P50_SECONDS, seen
    assert max(seen) < SEARCHABLE_SECONDS, seen
