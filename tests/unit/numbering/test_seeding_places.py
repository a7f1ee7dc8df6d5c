"""Places for seeding are shared fairly between applications."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from numbering_service.seeding.places import Places
from web.problems import Overloaded

Hold = Callable[[str], "asyncio.Task[str]"]


class Holding:
    """Tasks that hold a place until they are released, and the order in which they got it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.got: list[str] = []
        self.let_go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def hold(self, token: str) -> None:
        async with self.places.place(token):
            self.got.append(token)
            await self.let_go.wait()

    def start(self, *tokens: str) -> None:
        self.tasks += [asyncio.create_task(self.hold(token)) for token in tokens]

    async def end(self) -> list[BaseException | None]:
        self.let_go.set()
        return list(await asyncio.gather(*self.tasks, return_exceptions=True))


def run(
    scenario: Callable[[Holding], Awaitable[None]],
    *,
    places: int = 4,
    share: int = 2,
    max_waiting: int = 100,
) -> Holding:
    async def whole() -> Holding:
        holding = Holding(Places(places, per_application=share, max_waiting=max_waiting))
        await scenario(holding)
        return holding

    return asyncio.run(asyncio.wait_for(whole(), 10))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_application_has_its_share_and_no_more() -> None:
    async def scenario(holding: Holding) -> None:
        holding.start(*"AAAAA", "B")
        await settle()
        assert holding.got == ["A", "A", "B"]
        await holding.end()
        assert holding.got == ["A", "A", "B", "A", "A", "A"]

    run(scenario)


def test_applications_that_wait_take_turns() -> None:
    async def scenario(holding: Holding) -> None:
        holding.start(*"AAAAA", *"BB", *"CC")
        await settle()
        await holding.end()

    # The first has its place before anybody waits.
    assert "".join(run(scenario, places=1, share=1).got) == "AABCABCAA"


def test_a_full_queue_refuses_the_one_with_the_most_waiting() -> None:
    async def scenario(holding: Holding) -> None:
        holding.start(*"AAAAA")  # one has the place, four wait
        await settle()
        holding.start("B", "A", "C")
        await settle()
        outcomes = await holding.end()
        refused = [isinstance(outcome, Overloaded) for outcome in outcomes]
        assert refused == [False, False, False, True, True, False, True, False]

    assert sorted(run(scenario, places=1, share=1, max_waiting=4).got) == list("AAABC")


@pytest.mark.parametrize("after", range(4))
def test_cancelled_seedings_give_back_their_places(after: int) -> None:
    """Cancelled at any point: while waiting, just when its turn came, holding."""

    async def scenario(holding: Holding) -> None:
        holding.start("A", "A", "A", "B")
        await settle()
        leaving = holding.tasks[1]
        holding.tasks[0].cancel()
        for _ in range(after):
            await asyncio.sleep(0)
        leaving.cancel()
        await settle()
        holding.start("C", "C")
        await settle()
        await holding.end()
        assert {"B", "C"} < set(holding.got)
        assert holding.got.count("C") == 2
        assert not holding.places._taken
        assert not holding.places._queues
        assert (holding.places._free, holding.places.waiting) == (1, 0)

    run(scenario, places=1, share=1)
