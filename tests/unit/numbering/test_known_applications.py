"""Which applications exist is asked once, in bounded batches, and forgotten in time."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from contract.sequences import ACCESS_TOKENS
from numbering_service.creation import Creation
from numbering_service.seeding.lookup import Applications
from web.problems import Overloaded

Scene = Callable[[Applications], Awaitable[None]]


def run(scene: Scene, max_known: int = 10, max_asked: int = 10) -> list[list[str]]:
    """Run a scene; return the tokens that each query asked for."""
    queries: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        queries.append(request.url.params[ACCESS_TOKENS].split(","))
        return httpx.Response(200, json={ACCESS_TOKENS: queries[-1]})

    async def whole() -> None:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://crud") as crud:
            await scene(Applications(crud, max_known, max_asked))

    asyncio.run(asyncio.wait_for(whole(), 10))
    return queries


def chat_in(token: str) -> Creation:
    return Creation(token, None, "", "r")


def test_a_known_application_is_asked_for_again_once_it_was_forgotten() -> None:
    async def scene(applications: Applications) -> None:
        for _ in range(2):
            assert await applications.exists(chat_in("A"))
        applications.forget("A")
        assert await applications.exists(chat_in("A"))

    assert run(scene) == [["A"], ["A"]]


def test_the_application_unused_for_longest_is_forgotten_first() -> None:
    async def scene(applications: Applications) -> None:
        for token in "ABACABC":
            assert await applications.exists(chat_in(token))

    assert run(scene, max_known=2) == [["A"], ["B"], ["C"], ["B"], ["C"]]


def test_more_unknown_applications_than_may_be_asked_for_are_refused() -> None:
    async def scene(applications: Applications) -> None:
        first = [asyncio.create_task(applications.exists(chat_in(token))) for token in "ABC"]
        await asyncio.sleep(0)
        # Nothing was sent yet: the query is made when the loop comes round.
        refused = [task for task in first if task.done()]
        assert len(refused) == 1
        with pytest.raises(Overloaded):
            await refused[0]
        assert await asyncio.gather(*(task for task in first if task not in refused))

    run(scene, max_asked=2)
