"""Many concurrent clients: numbers are exactly 1..N, stored and counted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api

CLIENTS = 64
EACH = 10
CHATS = 300


def test_64_clients_in_one_new_chat_get_exactly_1_to_n(api: Api) -> None:
    chat = api.chat(api.application())
    total = CLIENTS * EACH
    numbers = created_by_many(
        lambda client, each: client.post(
            f"{api.numbering}{chat}/messages", json={"body": f"message {each}"}
        ),
        total,
    )
    assert sorted(numbers) == list(range(1, total + 1))
    api.wait_for_numbers(f"{chat}/messages", list(range(1, total + 1)))
    assert api.get(chat)["message_count"] == total


def test_300_chats_in_one_new_application_get_exactly_1_to_300(api: Api) -> None:
    application = api.application()
    numbers = created_by_many(
        lambda client, _: client.post(f"{api.numbering}{application}/chats"), CHATS
    )
    assert sorted(numbers) == list(range(1, CHATS + 1))
    api.wait_for_numbers(f"{application}/chats", list(range(1, CHATS + 1)))
    assert api.get(application)["chat_count"] == CHATS


def created_by_many(create: Callable[[httpx.Client, int], httpx.Response], total: int) -> list[int]:
    """Return the numbers that 64 clients got, each on its own connection."""

    def work(client_number: int) -> list[int]:
        numbers = []
        with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
            for each in range(client_number, total, CLIENTS):
                response = create(client, each)
                assert response.status_code == 201, response.text
                numbers.append(response.json()["number"])
        return numbers

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [number for numbers in pool.map(work, range(CLIENTS)) for number in numbers]
