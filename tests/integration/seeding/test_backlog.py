"""The view of the backlog on a real Valkey: what it finds, and how little it reads."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from contract.entries import FIELDS
from contract.keys import ACCEPTED
from numbering_service.seeding.backlog import LIMITS, Backlog, Limits
from tests.integration.accepting import accept, accept_raw
from tests.integration.numbering.surroundings import A, B, Valkey

Scenario = Callable[[Backlog], Awaitable[Any]]


async def find(view: Backlog, access_token: str, chat_number: int | None) -> int | None:
    """Return the number that a backlog has of a sequence."""
    return (await view.find(access_token, chat_number)).number


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def look(url: str, scenario: Scenario, **limits: float) -> Any:
    """Return the result of a scenario with its own view."""

    async def whole() -> Any:
        async with Redis.from_url(url) as connection:
            return await scenario(Backlog(connection, Limits(**limits)))

    return asyncio.run(asyncio.wait_for(whole(), 30))


def calls_of_scripts(client: redis.Redis) -> int:
    statistics: dict[str, Any] = client.info("commandstats")
    names = ("cmdstat_eval", "cmdstat_evalsha")
    return sum(statistics[name]["calls"] for name in names if name in statistics)


def fill(client: redis.Redis, messages: int, chats: int, *, first: int = 1, body: str = "x") -> str:
    """Accept messages of A, spread over chats 1 to `chats`; return the last id."""
    with client.pipeline(transaction=False) as pipeline:
        for position in range(messages):
            number, chat = divmod(position, chats)
            values = (A, str(chat + 1), str(number + first), body, "r")
            pipeline.xadd(ACCEPTED, dict(zip(FIELDS, values, strict=True)))
        return str(pipeline.execute()[-1].decode())


async def find_all(view: Backlog, chats: int) -> list[int | None]:
    found = await asyncio.gather(*(find(view, A, number) for number in range(1, chats + 1)))
    return list(found)


def test_each_sequence_has_its_highest_number(client: redis.Redis, redis_url: str) -> None:
    accept(client, 4, chat="", token=A)
    accept(client, 7, chat=3, token=A)
    accept(client, 5, chat="", token=A)
    accept(client, 8, chat=3, token=A)
    accept(client, 2, chat=3, token=B)

    async def scenario(view: Backlog) -> list[int | None]:
        wanted = [(A, None), (A, 3), (B, 3), (A, 5), (B, None), (A, 6)]
        return list(await asyncio.gather(*(find(view, *each) for each in wanted)))

    only_created = 0
    assert look(redis_url, scenario) == [5, 8, 2, only_created, None, None]


def test_entries_that_cannot_be_stored_count_as_no_number(
    client: redis.Redis, redis_url: str
) -> None:
    for number in ("", "x", "-3", "0", "nan", "inf", "1e300"):
        accept(client, number, chat=1, token=A)
    accept_raw(client, {"other": "fields"})
    accept_raw(client, {"number": "6", "chat_number": "1", "access_token": A})  # in another order
    assert look(redis_url, lambda view: find(view, A, 1)) == 6


@pytest.mark.parametrize("page", [1, 2, 3, 512])
def test_pages_of_any_size_find_the_same(client: redis.Redis, redis_url: str, page: int) -> None:
    limits = {"page_entries": page, "step_entries": min(page, 32), "segment_entries": 3}
    fill(client, 100, 7)
    expected = [15, 15, 14, 14, 14, 14, 14]
    assert look(redis_url, lambda view: find_all(view, 7), **limits) == expected


def test_without_a_stream_nothing_waits(redis_url: str) -> None:
    assert look(redis_url, lambda view: find(view, A, 1)) is None


def test_a_key_of_the_wrong_type_is_an_error_not_an_empty_backlog(
    client: redis.Redis, redis_url: str
) -> None:
    client.set(ACCEPTED, "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        look(redis_url, lambda view: find(view, A, 1))


def test_many_share_one_reading_and_the_next_reads_what_is_new(
    client: redis.Redis, redis_url: str
) -> None:
    fill(client, 5_000, 500)
    before = calls_of_scripts(client)

    async def scenario(view: Backlog) -> tuple[int, int]:
        assert await find_all(view, 500) == [10] * 500
        shared = calls_of_scripts(client) - before
        await asyncio.to_thread(fill, client, 500, 500, first=11)
        assert await find_all(view, 500) == [11] * 500
        return shared, calls_of_scripts(client) - before - shared

    shared, again = look(redis_url, scenario)
    assert shared <= 5_000 // LIMITS.page_entries + 3
    assert again <= 2


def test_a_seeding_during_a_reading_sees_everything_accepted_before_it(
    client: redis.Redis, redis_url: str
) -> None:
    fill(client, 2_000, 1)

    async def scenario(view: Backlog) -> list[int | None]:
        before = calls_of_scripts(client)
        first = asyncio.create_task(find(view, A, 1))
        while calls_of_scripts(client) == before:
            await asyncio.sleep(0)
        assert not first.done()
        accept(client, 2_001, token=A)
        return [(await find(view, A, 1)), (await first)]

    late, early = look(redis_url, scenario, page_entries=32)
    assert late == 2_001
    assert early in {2_000, 2_001}


def test_a_cancelled_caller_ends_no_other_reading(client: redis.Redis, redis_url: str) -> None:
    fill(client, 3_000, 3)

    async def scenario(view: Backlog) -> int | None:
        leaving = asyncio.create_task(find(view, A, 1))
        staying = asyncio.create_task(find(view, A, 2))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert look(redis_url, scenario) == 1_000


def test_stored_entries_are_forgotten_and_waiting_ones_are_not(
    client: redis.Redis, redis_url: str
) -> None:
    fill(client, 2_000, 2_000)

    async def scenario(view: Backlog) -> tuple[int | None, int | None, int]:
        await find(view, A, 1)
        client.xtrim(ACCEPTED, maxlen=100, approximate=False)
        kept = await find(view, A, 2_000)
        stored = await find(view, A, 1)
        return kept, stored, sum(len(segment.highest) for segment in view._segments)

    kept, stored, keys_kept = look(redis_url, scenario, segment_entries=1)
    assert (kept, stored) == (1, None)
    assert keys_kept < 2_000


@pytest.mark.parametrize("max_keys", [0, 1, 600, 1_500])
def test_more_sequences_than_there_is_room_for_are_still_found(
    client: redis.Redis, redis_url: str, max_keys: int
) -> None:
    fill(client, 4_000, 2_000)

    async def scenario(view: Backlog) -> int:
        for _ in range(2):
            assert await find_all(view, 2_000) == [2] * 2_000
        assert await find(view, B, 1) is None
        return sum(len(segment.highest) for segment in view._segments)

    assert look(redis_url, scenario, max_keys=max_keys) <= max_keys


def test_a_lost_stream_is_read_again(client: redis.Redis, redis_url: str) -> None:
    fill(client, 100, 1)

    async def scenario(view: Backlog) -> list[int | None]:
        found = [(await find(view, A, 1))]
        client.delete(ACCEPTED)
        found.append(await find(view, A, 1))
        # With ids from before, as after a clock that was set back.
        client.xadd(ACCEPTED, dict(zip(FIELDS, (A, "1", "3", "x", "r"), strict=True)), id="5-5")
        found.append(await find(view, A, 1))
        return found

    assert look(redis_url, scenario) == [100, None, 3]


def test_another_history_of_the_same_server_is_read_again(tmp_path: Path) -> None:
    """A server that is demoted and promoted again has another stream under the same address."""
    with Valkey(tmp_path) as valkey:
        fill(valkey.client, 10, 1)

        async def scenario(view: Backlog) -> list[int | None]:
            found = [(await find(view, A, 1))]
            last = valkey.client.xinfo_stream(ACCEPTED)["last-generated-id"]
            valkey.client.replicaof("127.0.0.1", "1")
            valkey.client.replicaof("NO", "ONE")
            # As a primary would have it that never got the last entries, but others instead.
            valkey.client.xtrim(ACCEPTED, maxlen=3, approximate=False)
            assert valkey.client.xinfo_stream(ACCEPTED)["last-generated-id"] == last
            found.append(await find(view, A, 1))
            return [*found, len(view._segments), view._segments[0].entries]

        assert look(valkey.url, scenario) == [10, 10, 1, 3]


def test_a_replica_refuses_to_read_the_backlog(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        fill(valkey.client, 10, 1)
        valkey.client.replicaof("127.0.0.1", "1")
        with pytest.raises(redis.ReadOnlyError):
            look(valkey.url, lambda view: find(view, A, 1))


def test_long_bodies_stay_in_valkey_and_end_a_page(client: redis.Redis, redis_url: str) -> None:
    fill(client, 64, 1, body="x" * 65_536)
    sent = client.info("stats")["total_net_output_bytes"]

    async def scenario(view: Backlog) -> Any:
        page = await view._read_page((0, 0))
        assert (await find(view, A, 1)) == 64
        return page

    page = look(redis_url, scenario)
    assert page.entries == LIMITS.step_entries
    assert client.info("stats")["total_net_output_bytes"] - sent < 100_000


def test_a_long_backlog_is_followed_in_advance(client: redis.Redis, redis_url: str) -> None:
    fill(client, LIMITS.follow_from_entries, 5)

    async def scenario(view: Backlog) -> int:
        following = asyncio.create_task(view.follow())
        while not view._segments:
            await asyncio.sleep(0.01)
        await find(view, A, 1)
        before = calls_of_scripts(client)
        following.cancel()
        assert await find_all(view, 5) == [1_000] * 5
        return calls_of_scripts(client) - before

    assert look(redis_url, scenario, follow_seconds=0.01) <= 2
