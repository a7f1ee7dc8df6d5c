"""Large requests: the event loop does something else between any two of them."""

import asyncio
from typing import Any, cast

from numbering_service.creations.creating import LARGE_BYTES, Creations
from numbering_service.creations.requests import Target
from web.server.request import Request

Steps = list[str]


class Sent:
    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.body = b"x" * size


class Noted(Creations):
    """Notes which requests are read, and does no more."""

    def __init__(self, steps: Steps) -> None:
        nothing = cast(Any, None)
        super().__init__(
            nothing, nothing, nothing, public_url="", max_seeding=1, patience_seconds=1
        )
        self.steps = steps

    def _create(self, request: Request, target: Target) -> None:
        self.steps.append(cast(Sent, request).name)


def send(creations: Creations, *requests: Sent) -> None:
    for request in requests:
        creations.create(cast(Request, request), cast(Target, None))


def test_others_have_their_turn_between_two_large_requests() -> None:
    async def run() -> Steps:
        steps: Steps = []
        creations = Noted(steps)
        send(creations, Sent("large 1", LARGE_BYTES + 1), Sent("large 2", LARGE_BYTES + 1))
        send(creations, Sent("large 3", LARGE_BYTES + 1), Sent("small", LARGE_BYTES))
        for _ in range(4):
            await asyncio.sleep(0)
            steps.append("another")
        return steps

    steps = asyncio.run(run())
    assert [step for step in steps if step != "another"] == [
        "small",
        *("large 1", "large 2", "large 3"),
    ]
    large = [steps.index(f"large {i}") for i in (1, 2, 3)]
    assert large[2] - large[1] == large[1] - large[0] == 2


def test_large_requests_that_wait_are_read_when_the_process_ends() -> None:
    async def run() -> Steps:
        steps: Steps = []
        creations = Noted(steps)
        send(creations, Sent("1", LARGE_BYTES + 1), Sent("2", LARGE_BYTES + 1))
        cast(Any, creations)._batcher = Drained()
        await creations.drain(1)
        return steps

    assert asyncio.run(run()) == ["1", "2"]


class Drained:
    async def drain(self, seconds: float) -> None:
        pass
