"""A quiet application beside a hostile one, measured from a process of its own.

    python -m tests.tenants.neighbour CRUD_URL NUMBERING_URL

Posts a message now and then and waits until it is readable and until it is searchable, and
asks both services all the time whether they are alive. Prints a line when it has begun; when
its input ends it waits for what is outstanding and prints its `Measured` as JSON.

A process of its own, in a session of its own, and where that is allowed one that the kernel
prefers, so that no load made elsewhere on this machine delays its clock. Linux shares processors
among sessions first ("autogroup", sched(7)), and only a session's part among its processes.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from local_stack.ports import PLAIN_HTTP

PAUSE_SECONDS = 0.4
LIVE_PAUSE_SECONDS = 0.1
# Longer than any bound is stretched: how long something took is for the test to judge.
GIVE_UP_SECONDS = 120.0
# How often it looks: a client that waits for its own message.
READ_EVERY_SECONDS = 0.02
SEARCH_EVERY_SECONDS = 0.1


@dataclass
class Measured:
    """What the neighbour saw; all times in seconds, from the answer 201 on."""

    readable: list[float] = field(default_factory=list)
    searchable: list[float] = field(default_factory=list)
    live_crud: list[float] = field(default_factory=list)
    live_numbering: list[float] = field(default_factory=list)
    created: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Neighbour:
    """The quiet application: one chat, one message at a time."""

    def __init__(self, client: httpx.AsyncClient, crud: str, numbering: str) -> None:
        self.client, self.crud, self.numbering = client, crud, numbering
        self.measured = Measured()
        self.chat = ""

    async def prepare(self) -> None:
        """Make the application and its chat, and see one message through."""
        answer = await self.client.post(f"{self.crud}/applications", json={"name": "neighbour"})
        path = f"/applications/{answer.raise_for_status().json()['access_token']}"
        answer = await self.client.post(f"{self.numbering}{path}/chats")
        self.chat = f"{path}/chats/{answer.raise_for_status().json()['number']}"
        await self.follow(0)
        self.measured = Measured()

    async def follow(self, count: int) -> None:
        """Post one message, and wait until it is readable and searchable."""
        word = f"neighbour{count:05}"
        started = time.monotonic()
        answer = await self.client.post(
            f"{self.numbering}{self.chat}/messages", json={"body": f"hello {word}"}
        )
        if answer.status_code != 201:
            self.measured.errors.append(f"POST {answer.status_code}: {answer.text[:200]}")
            return
        accepted = time.monotonic()
        self.measured.created.append(accepted - started)
        messages = f"{self.crud}{self.chat}/messages"
        number = answer.json()["number"]
        await asyncio.gather(
            self.wait(f"{messages}/{number}", accepted, READ_EVERY_SECONDS, self.measured.readable),
            self.wait(
                f"{messages}/search?keyword={word}",
                accepted,
                SEARCH_EVERY_SECONDS,
                self.measured.searchable,
            ),
        )

    async def wait(self, url: str, since: float, pause: float, times: list[float]) -> None:
        """Ask until the message is in the answer; note how long that took."""
        while time.monotonic() < since + GIVE_UP_SECONDS:
            answer = await self.client.get(url)
            if answer.status_code == 200 and answer.content != b"[]":
                times.append(time.monotonic() - since)
                return
            if answer.status_code not in (200, 404):
                self.measured.errors.append(f"GET {answer.status_code}: {answer.text[:200]}")
            await asyncio.sleep(pause)
        self.measured.errors.append(f"not there after {GIVE_UP_SECONDS:g} s: {url}")

    async def stay_alive(self, url: str, times: list[float], stopped: "asyncio.Task[str]") -> None:
        """Ask for liveness until stopped, and be answered once at least."""
        while not (times and stopped.done()):
            started = time.monotonic()
            answer = await self.client.get(f"{url}/health/live")
            times.append(time.monotonic() - started)
            if answer.status_code != 200:
                self.measured.errors.append(f"liveness {answer.status_code}")
            await asyncio.sleep(LIVE_PAUSE_SECONDS)


async def measure(crud: str, numbering: str) -> Measured:
    """Measure until the standard input ends."""
    stopped = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with httpx.AsyncClient(timeout=GIVE_UP_SECONDS, **PLAIN_HTTP) as client:
        neighbour = Neighbour(client, crud, numbering)
        await neighbour.prepare()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        measured = neighbour.measured
        asking = [
            asyncio.create_task(neighbour.stay_alive(url, times, stopped))
            for url, times in ((crud, measured.live_crud), (numbering, measured.live_numbering))
        ]
        following: list[asyncio.Task[None]] = []
        while not stopped.done():
            following.append(asyncio.create_task(neighbour.follow(len(following) + 1)))
            await asyncio.wait({stopped}, timeout=PAUSE_SECONDS)
        await asyncio.gather(*asking, *following)
    return neighbour.measured


def go_first() -> None:
    """Have the kernel prefer this process, as far as it has sessions to share among and lets us."""
    with suppress(OSError):
        os.nice(-10)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")


if __name__ == "__main__":
    go_first()
    sys.stdout.write(json.dumps(asdict(asyncio.run(measure(*sys.argv[1:3])))) + "\n")
