"""Rate limits over HTTP: two processes share them, and answers tell of them."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import redis

from contract import keys
from contract.settings_reading import SettingsError
from numbering_service.rate_limits import Rate
from numbering_service.settings import Settings
from tests.integration.numbering.surroundings import (
    CHATS,
    MESSAGES,
    A,
    B,
    Client,
    Numbering,
    Reply,
    Valkey,
    request,
)

RATE, BURST = 50, 20
JSON = {"Content-Type": "application/json"}
NO_CRUD = "http://127.0.0.1:1"
LIMIT = re.compile(r'"application";r=(\d+);t=(\d+)')


class Pair(NamedTuple):
    """The ports of two processes that share a Valkey."""

    first: int
    second: int


@pytest.fixture(scope="module")
def pair(own_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("limited")
    limits = {"RATE_LIMIT": str(RATE), "RATE_BURST": str(BURST)}
    with (
        Numbering(directory, own_valkey.url, NO_CRUD, **limits) as first,
        Numbering(directory, own_valkey.url, NO_CRUD, **limits) as second,
    ):
        yield Pair(first.port, second.port)


@pytest.fixture(autouse=True)
def sequences(valkey: Valkey) -> redis.Redis:
    sequences = (keys.chat_sequence(A), keys.chat_sequence(B), keys.message_sequence(A, 1))
    valkey.client.mset(dict.fromkeys(sequences, 0))
    return valkey.client


def valkey_seconds(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


async def post_all(ports: list[int], paths: list[str], each: int) -> dict[str, list[Reply]]:
    """Post to each path at each port, on a connection for each, so many times."""

    async def post(port: int, path: str) -> tuple[str, list[Reply]]:
        body = b'{"body": "x"}'
        async with Client(port) as client:
            return path, [await client.request("POST", path, body, JSON) for _ in range(each)]

    answers: dict[str, list[Reply]] = {path: [] for path in paths}
    for path, replies in await asyncio.gather(*(post(p, path) for p in ports for path in paths)):
        answers[path] += replies
    return answers


def test_two_processes_keep_one_limit(pair: Pair, sequences: redis.Redis) -> None:
    begin = valkey_seconds(sequences)
    replies = asyncio.run(post_all([*pair] * 4, [MESSAGES], 50))[MESSAGES]
    seconds = valkey_seconds(sequences) - begin
    numbers = sorted(reply.number for reply in replies if reply.status == 201)
    refused = [reply for reply in replies if reply.status != 201]
    assert {reply.code for reply in refused} == {"rate_limited"}
    assert numbers == list(range(1, len(numbers) + 1))
    assert BURST <= len(numbers) <= BURST + RATE * seconds + 1
    assert sequences.xlen(keys.ACCEPTED) == len(numbers)


def test_an_application_at_its_limit_slows_no_other_one(pair: Pair, sequences: redis.Redis) -> None:
    other = f"/applications/{B}/chats"
    sequences.hset(keys.LIMITS, B, "0 1")
    answers = asyncio.run(post_all([*pair] * 2, [MESSAGES, other], 100))
    assert {reply.status for reply in answers[MESSAGES]} == {201, 429}
    assert sorted(reply.number for reply in answers[other]) == list(range(1, 401))
    assert "ratelimit" not in answers[other][0].headers


def test_answers_tell_the_state(pair: Pair) -> None:
    first = request(pair.first, "POST", CHATS)
    assert first.status == 201
    policy = f'"application";q={RATE};qu="creations";w=1'
    assert first.headers["ratelimit-policy"] == policy
    assert first.headers["ratelimit"] == f'"application";r={BURST - 1};t=1'
    refused = refused_reply(pair)
    assert refused.headers["ratelimit-policy"] == policy
    state = LIMIT.fullmatch(refused.headers["ratelimit"])
    assert state is not None
    assert state.groups() == ("0", "1")
    assert refused.headers["retry-after"] == "1"
    assert b"nothing was changed" in refused.body


def refused_reply(pair: Pair) -> Reply:
    """Return a refusal, sending until there is one."""
    replies = asyncio.run(post_all([pair.first] * 8, [CHATS], 20))[CHATS]
    return next(reply for reply in replies if reply.status == 429)


def test_a_replay_passes_a_limit_and_a_refusal_keeps_no_key(
    pair: Pair, sequences: redis.Redis
) -> None:
    sequences.hset(keys.LIMITS, A, "0 1")
    body, headers = b'{"body": "once"}', JSON | {"Idempotency-Key": "first"}
    created = request(pair.first, "POST", MESSAGES, body, headers)
    assert created.number == 1
    # Has to be paid off before the next one.
    sequences.hset(keys.LIMITS, A, "1 1")
    bulk = json.dumps({"messages": [{"body": "x"}] * 500}).encode()
    assert request(pair.first, "POST", f"{MESSAGES}/bulk", bulk, JSON).number == 2
    for port in (*pair, *pair):
        replayed = request(port, "POST", MESSAGES, body, headers)
        assert (replayed.number, replayed.headers["idempotent-replayed"]) == (1, "true")
    second = JSON | {"Idempotency-Key": "second"}
    statuses = [request(port, "POST", MESSAGES, body, second).status for port in pair]
    assert statuses == [429, 429]
    assert not sequences.exists(keys.idempotency(A, 1, "second"))
    assert sequences.get(keys.message_sequence(A, 1)) == b"501"


@pytest.mark.parametrize(
    ("environment", "rate"),
    [
        ({}, Rate(0, 1)),
        ({"RATE_LIMIT": "0"}, Rate(0, 1)),
        ({"RATE_LIMIT": "25"}, Rate(25, 25)),
        ({"RATE_LIMIT": "25", "RATE_BURST": "5"}, Rate(25, 5)),
        ({"RATE_BURST": "5"}, Rate(0, 5)),
    ],
)
def test_the_default_burst_is_what_a_second_allows(environment: dict[str, str], rate: Rate) -> None:
    assert Settings.from_env(environment).default_rate == rate


@pytest.mark.parametrize(
    ("name", "value"),
    [("RATE_LIMIT", "-1"), ("RATE_LIMIT", "1.5"), ("RATE_LIMIT", "1000001"), ("RATE_BURST", "0")],
)
def test_a_limit_that_makes_no_sense_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: value})
