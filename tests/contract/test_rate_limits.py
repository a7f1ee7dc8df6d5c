"""The limiter in numbers.lua on a real Valkey.

Time stands still within a call of the script, so a batch shows exactly what is let through at one
moment. Where time has to pass, it is Valkey's own that is measured.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from contract import keys
from numbering_service.creation import Bulk, Created
from numbering_service.creations.numbers import read_answer
from numbering_service.rate_limits import Limit, Rate
from tests.contract.test_numbers_script import MISSING, REUSED, A, B, Numbering, chat, message, post
from web.problems import RateLimited

LIMITED = -10
LIMITER_A = f"{keys.LIMITER}{A}"


@pytest.fixture
def numbering(redis_url: str) -> Iterator[Numbering]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield Numbering(client)


def numbers(answers: list[Any]) -> list[int | bytes]:
    """Return the answers without the states of limits."""
    return [answer[0] if isinstance(answer, list) else answer for answer in answers]


def content(client: redis.Redis) -> dict[bytes, bytes]:
    """Return everything in Valkey but the answers to batches."""
    names = [name for name in client.scan_iter() if not name.startswith(b"batch:")]
    return {name: client.dump(name) for name in names}


def now_us(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds) * 1_000_000 + int(microseconds)


def test_a_burst_is_let_through_and_the_rest_is_refused(numbering: Numbering) -> None:
    batch = [post(1, str(i)) for i in range(4)] + [chat()] + [post(1, "more", key="k"), chat()]
    _, answers = numbering.run(*batch, rate=Rate(10, 5))
    assert numbers(answers) == [1, 2, 3, 4, 3, LIMITED, LIMITED]
    assert len(numbering.entries()) == 5
    assert numbering.redis.mget(message(1), keys.chat_sequence(A)) == [b"4", b"3"]
    assert numbering.redis.get(keys.idempotency(A, 1, "k")) is None
    assert -1 != numbering.redis.pttl(LIMITER_A) <= 501


def test_answers_tell_the_state_of_the_limit(numbering: Numbering) -> None:
    _, answers = numbering.run(post(1), post(1), post(1), rate=Rate(10, 2))
    assert answers == [
        [1, 10, 2, 100_000, 0],
        [2, 10, 2, 200_000, 0],
        [LIMITED, 10, 2, 200_000, 100_000],
    ]


def bulk(number: int, messages: int) -> Bulk:
    """A bulk is let through as a whole, and has all of it to be paid off."""
    return Bulk((post(number),) * messages)


def test_a_refusal_leaves_nothing_behind(numbering: Numbering) -> None:
    assert numbers(numbering.run(bulk(1, 500), rate=Rate(1, 10))[1]) == [1]
    before = content(numbering.redis)
    _, answers = numbering.run(post(1, key="new"), chat("new"), rate=Rate(1, 10))
    assert numbers(answers) == [LIMITED, LIMITED]
    assert content(numbering.redis) == before


def test_a_replay_costs_nothing_and_is_never_refused(numbering: Numbering) -> None:
    rate = Rate(1, 10)
    assert numbering.answers(post(1, key="k")) == [1]
    assert numbers(numbering.run(bulk(1, 500), rate=rate)[1]) == [2]
    charged = numbering.redis.get(LIMITER_A)
    _, answers = numbering.run(
        *[post(1, key="k")] * 3, post(1, "else", key="k"), post(1), rate=rate
    )
    assert answers[:4] == [b"1", b"1", b"1", REUSED]
    assert numbers(answers[4:]) == [LIMITED]
    assert numbering.redis.get(LIMITER_A) == charged


def test_what_takes_no_number_costs_nothing(numbering: Numbering) -> None:
    rate = Rate(1, 1)
    numbering.redis.set(message(7), keys.UNKNOWN)
    assert numbering.run(post(9), post(7), rate=rate)[1] == [MISSING, -4]
    assert numbering.run(post(1), rate=rate, room=0)[1] == [-2]
    assert not numbering.redis.exists(LIMITER_A)
    assert numbers(numbering.run(post(1), rate=rate)[1]) == [1]


def test_a_repeated_batch_is_charged_once(numbering: Numbering) -> None:
    first = numbering.run(post(1), post(1), batch="b", rate=Rate(1, 5))
    charged = numbering.redis.get(LIMITER_A)
    assert numbering.run(post(1), post(1), batch="b", again=True, rate=Rate(1, 5))[1] == first[1]
    assert numbering.redis.get(LIMITER_A) == charged


def test_each_application_has_a_limiter(numbering: Numbering) -> None:
    numbering.redis.set(keys.chat_sequence(B), 0)
    batch = [chat(), chat(token=B)] * 3
    _, answers = numbering.run(*batch, rate=Rate(1, 2))
    assert numbers(answers) == [3, 1, 4, 2, LIMITED, LIMITED]


@pytest.mark.parametrize("default", [Rate(0, 1), Rate(1, 1)])
def test_an_application_has_a_limit_of_its_own(numbering: Numbering, default: Rate) -> None:
    numbering.redis.set(keys.chat_sequence(B), 0)
    numbering.redis.hset(keys.LIMITS, A, "10 3")
    _, answers = numbering.run(*[chat()] * 4, *[chat(token=B)] * 2, rate=default)
    assert numbers(answers[:4]) == [3, 4, 5, LIMITED]
    assert numbers(answers[4:]) == ([1, 2] if default.rate == 0 else [1, LIMITED])


def test_an_application_can_be_exempt(numbering: Numbering) -> None:
    numbering.redis.hset(keys.LIMITS, A, "0 1")
    assert numbering.run(*[post(1)] * 3, rate=Rate(1, 1))[1] == [1, 2, 3]


def test_without_a_limit_the_limiter_is_not_asked(numbering: Numbering) -> None:
    assert numbering.run(post(1), chat())[1] == [1, 3]
    assert not numbering.redis.exists(LIMITER_A)


@pytest.mark.parametrize("own", ["", "10", "x y", "-1 5"])
def test_a_limit_that_cannot_be_read_is_the_default(numbering: Numbering, own: str) -> None:
    numbering.redis.hset(keys.LIMITS, A, own)
    assert numbers(numbering.run(*[post(1)] * 3, rate=Rate(1, 2))[1]) == [1, 2, LIMITED]


@pytest.mark.parametrize("key", [keys.LIMITS, LIMITER_A])
def test_a_key_of_another_type_stops_nothing(numbering: Numbering, key: str) -> None:
    numbering.redis.lpush(key, "x")
    assert numbers(numbering.run(*[post(1)] * 3, rate=Rate(1, 2))[1]) == [1, 2, LIMITED]


def test_whoever_waits_as_long_as_told_is_let_through(numbering: Numbering) -> None:
    rate = Rate(20, 4)
    for _ in range(5):
        _, answers = numbering.run(*[post(1)] * 6, rate=rate)
        number, *_, wait = answers[-1]
        assert number == LIMITED
        time.sleep(wait / 1_000_000)
        assert numbers(numbering.run(post(1), rate=rate)[1])[0] != LIMITED


def test_the_rate_is_kept_over_time(numbering: Numbering) -> None:
    rate, accepted = Rate(200, 20), 0
    numbering.run(*[post(1)] * 30, rate=rate)
    begin = now_us(numbering.redis)
    while now_us(numbering.redis) < begin + 1_000_000:
        _, answers = numbering.run(*[post(1)] * 40, rate=rate)
        accepted += sum(number != LIMITED for number in numbers(answers))
        end = now_us(numbering.redis)
    seconds = (end - begin) / 1_000_000
    assert accepted <= rate.rate * seconds + rate.burst
    # Less only if a pause of the machine was longer than the burst lasts.
    assert accepted >= rate.burst


@pytest.mark.parametrize("rate", [3, 7, 999, 1_000_000])
def test_rounding_takes_nothing_from_a_burst(numbering: Numbering, rate: int) -> None:
    for burst in (1, 3, 10, 300):
        numbering.redis.delete(LIMITER_A)
        _, answers = numbering.run(*[post(1)] * burst, rate=Rate(rate, burst))
        assert LIMITED not in numbers(answers)


def test_a_clock_that_was_set_back_locks_nobody_out(numbering: Numbering) -> None:
    ahead = now_us(numbering.redis) + 3_600_000_000
    numbering.redis.set(LIMITER_A, str(ahead), px=3_600_000)
    _, answers = numbering.run(post(1), rate=Rate(10, 5))
    assert answers == [[LIMITED, 10, 5, 500_000, 100_000]]
    time.sleep(0.11)
    assert numbers(numbering.run(post(1), rate=Rate(10, 5))[1]) == [1]


def test_a_raised_limit_helps_at_once(numbering: Numbering) -> None:
    numbering.run(*[post(1)] * 100, rate=Rate(1, 100))
    _, answers = numbering.run(post(1), rate=Rate(100, 100))
    assert answers[0] == [LIMITED, 100, 100, 1_000_000, 10_000]
    time.sleep(0.02)
    assert numbers(numbering.run(post(1), rate=Rate(100, 100))[1]) == [101]


def test_answers_become_header_fields() -> None:
    created = read_answer([7, 10, 25, 1_250_000, 0])
    assert isinstance(created, Created)
    assert created.limit is not None
    assert created.limit.fields() == {
        "RateLimit": '"application";r=12;t=2',
        "RateLimit-Policy": '"application";q=25;qu="creations";w=3',
    }
    refused = read_answer([LIMITED, 10, 25, 2_500_000, 100_000])
    assert isinstance(refused, RateLimited)
    assert refused.headers == {
        "Retry-After": "1",
        "RateLimit": '"application";r=0;t=1',
        "RateLimit-Policy": '"application";q=25;qu="creations";w=3',
    }


def test_a_burst_below_the_rate_is_not_told_as_the_quota() -> None:
    fields = Limit(100, 10, 0, 0).fields()
    assert fields["RateLimit-Policy"] == '"application";q=100;qu="creations";w=1'
    assert fields["RateLimit"] == '"application";r=10;t=0'
