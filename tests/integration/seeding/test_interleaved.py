"""Seeding beside a persister, interleaved in every order, on a real Valkey and a real PostgreSQL.

The persister's steps are those of the real one: an entry is committed, then it
leaves the stream. They fall into the gaps between the steps of a seeding: before
it takes the lock, before each page of the backlog, before crud_service is asked,
before the number is written. Whatever the order, the number written is the
highest one that was accepted.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import redis

from contract import keys
from contract.entries import decode
from numbering_service.creation import Creation
from numbering_service.redis_client import Client
from numbering_service.seeding import Seeding
from numbering_service.seeding.backlog import Limits
from tests.conftest import INTERNAL_TOKEN
from tests.integration.accepting import accept
from web.problems import StoreUnavailable

# Entries of the sequence that are stored in each schedule; one of another stays behind them.
ENTRIES = 2
# take, a page for each entry, crud, write
GAPS = ENTRIES + 4

pytestmark = pytest.mark.timeout(120)


@dataclass
class Schedule:
    """The persister's steps, and before which command of the seeding each is run."""

    steps: list[Callable[[], None]]
    gaps: Sequence[int]
    command: int = 0
    done: int = 0
    commands: list[str] = field(default_factory=list)

    def turn(self, command: str) -> None:
        """Run the steps that are due before the next command."""
        self.commands.append(command)
        while self.done < len(self.steps) and self.gaps[self.done] <= self.command:
            self.steps[self.done]()
            self.done += 1
        self.command += 1


class SteppedRedis(Client):
    """A client that advances the schedule before each of its commands."""

    schedule = Schedule([], [])
    # The script that renews the lock, which is no step: it runs beside one that takes a second.
    renewal = ""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "EVALSHA" and args[1] != self.renewal:
            self.schedule.turn(args[0])
        return await super().execute_command(*args, **options)


class SteppedCrud(httpx.AsyncBaseTransport):
    """crud_service in this process, queried in its turn."""

    def __init__(self, redis_client: SteppedRedis, *, away: bool) -> None:
        from crud_service.wsgi import application

        self._wsgi = httpx.WSGITransport(app=application)
        self._redis = redis_client
        self._away = away

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/internal/sequences/"):
            self._redis.schedule.turn("crud")
            if self._away:
                raise httpx.ConnectError("crud_service is unavailable")
        sync = httpx.Request(request.method, request.url, headers=request.headers)
        response = self._wsgi.handle_request(sync)
        return httpx.Response(response.status_code, content=response.read())


class Scene:
    """An application with entries in the stream, and a persister that stores them."""

    def __init__(self, client: redis.Redis, database: psycopg.Connection[Any], token: str) -> None:
        self.client = client
        self.database = database
        self.token = token

    def accept(self, kind: str) -> Creation:
        """Accept entries of a sequence whose key is then lost; return a creation that needs it."""
        accept(self.client, 1, chat="", token=self.token)
        for number in range(1, ENTRIES):
            if kind == "chats":
                accept(self.client, number + 1, chat="", token=self.token)
            else:
                accept(self.client, number, chat=1, token=self.token)
        accept(self.client, 7, chat=1_000, token=self.token)
        return Creation(self.token, None if kind == "chats" else 1, "", "r")

    def steps(self) -> list[Callable[[], None]]:
        """Return the persister's steps: each entry is committed, then trimmed."""
        found: Any = self.client.xrange(keys.ACCEPTED, count=ENTRIES)
        assert len(found) == ENTRIES
        return [
            step
            for entry_id, fields in found
            for step in (
                lambda entry_id=entry_id, fields=fields: self.commit(entry_id, fields),
                lambda entry_id=entry_id: self.trim(entry_id),
            )
        ]

    def commit(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        from crud_service.persist.poison import store_what_can_be

        store_what_can_be(self.database, [decode(entry_id, fields)])

    def trim(self, entry_id: bytes) -> None:
        from crud_service.persist.accepted import after

        self.client.xtrim(keys.ACCEPTED, minid=after(entry_id.decode()), approximate=False)


ONE_BY_ONE = Limits(page_entries=1, step_entries=1)


def schedules() -> Iterator[tuple[int, ...]]:
    """Yield, for each of the persister's steps, the gap into which it falls.

    The gap before the first command is left out, as nothing is read by then; the
    last one is behind all commands.
    """
    return itertools.combinations_with_replacement(range(1, GAPS + 1), 2 * ENTRIES)


def run_all(environment: dict[str, str], kind: str, *, away: bool = False) -> list[object]:
    """Return the outcome of the sequence in every schedule: a number or a problem."""

    async def whole() -> list[object]:
        with (
            redis.Redis.from_url(environment["REDIS_URL"]) as client,
            psycopg.connect(environment["DATABASE_URL"], autocommit=True) as database,
        ):
            database.execute("SET synchronous_commit = off")  # It is about order, not about disks.
            stepped = SteppedRedis.from_url(environment["REDIS_URL"])
            assert isinstance(stepped, SteppedRedis)
            headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
            transport = SteppedCrud(stepped, away=away)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://crud.test", headers=headers
            ) as crud:
                await load_scripts(
                    stepped, Seeding([stepped], crud, patience_seconds=5, limits=ONE_BY_ONE)
                )
                outcomes = []
                for position, gaps in enumerate(schedules()):
                    scene = Scene(client, database, f"{position:024d}")
                    seeding = Seeding([stepped], crud, patience_seconds=5, limits=ONE_BY_ONE)
                    outcomes.append(await run_one(scene, seeding, stepped, kind, gaps))
            await stepped.aclose()
            return outcomes

    return asyncio.run(whole())


async def load_scripts(stepped: SteppedRedis, seeding: Seeding) -> None:
    [store] = seeding._stores
    scripts = store.scripts
    stepped.renewal = scripts.renew.sha
    for script in (scripts.take, scripts.renew, scripts.write, store.backlog._script):
        await stepped.script_load(script.script)


async def run_one(
    scene: Scene, seeding: Seeding, stepped: SteppedRedis, kind: str, gaps: Sequence[int]
) -> object:
    scene.database.execute(
        "INSERT INTO applications (access_token, name) VALUES (%s, 'x')", (scene.token,)
    )
    creation = scene.accept(kind)
    stepped.schedule = Schedule(scene.steps(), gaps)
    try:
        await seeding.seed_sequence(creation)
    except StoreUnavailable as problem:
        outcome: object = problem
    else:
        outcome = int(scene.client.get(creation.sequence_key) or -1)
        assert len(stepped.schedule.commands) <= GAPS, "there are more gaps than were tried"
    assert not scene.client.exists(keys.seed_lock(creation.sequence_key))
    scene.client.xtrim(keys.ACCEPTED, maxlen=0, approximate=False)
    return outcome


def test_messages_of_a_chat_continue_where_they_left_off(clean_crud: dict[str, str]) -> None:
    assert set(run_all(clean_crud, "messages")) == {ENTRIES - 1}


def test_chats_of_an_application_continue_where_they_left_off(clean_crud: dict[str, str]) -> None:
    assert set(run_all(clean_crud, "chats")) == {ENTRIES}


def test_without_crud_the_number_is_exact_or_refused(clean_crud: dict[str, str]) -> None:
    outcomes = run_all(clean_crud, "messages", away=True)
    numbers = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert set(numbers) == {ENTRIES - 1}
    assert len(numbers) < len(outcomes)
    assert all(isinstance(each, int | StoreUnavailable) for each in outcomes)
