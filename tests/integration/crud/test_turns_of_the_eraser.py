"""The eraser: whose turn it is, where much was deleted at once, and when it ends."""

import threading

import httpx
import psycopg
import pytest
import redis

from contract import keys
from tests.integration.crud_rows import Database, add_chat_of, add_chats, token_of

MANY = 130


def new_application(http: httpx.Client) -> str:
    token = http.post("/applications", json={"name": "another"}).json()["access_token"]
    return f"/applications/{token}"


def bodies(database: Database) -> list[str]:
    rows = database.execute("SELECT DISTINCT body FROM messages ORDER BY body").fetchall()
    return [body for (body,) in rows]


def test_applications_that_wait_for_their_end_hold_up_nobody(
    http: httpx.Client, database: Database, application: str, valkey: redis.Redis
) -> None:
    from crud_service.erase.eraser import Eraser

    chat = add_chat_of(database, application, 3)
    for _ in range(MANY):
        http.delete(new_application(http))
    http.delete(chat)
    Eraser(lambda _: valkey, grace_seconds=60).erase_some(database)
    assert bodies(database) == []


def test_one_application_s_deleted_chats_do_not_hold_up_another_s(
    http: httpx.Client, database: Database, application: str, valkey: redis.Redis
) -> None:
    from crud_service.erase.eraser import Eraser

    add_chats(database, application, MANY)
    for number in range(1, MANY + 1):
        http.delete(f"{application}/chats/{number}")
    chat = add_chat_of(database, new_application(http), 3)
    http.delete(chat)
    eraser = Eraser(lambda _: valkey)
    eraser.erase_some(database)
    assert bodies(database) == []
    while eraser.erase_some(database):
        pass
    assert database.execute("SELECT id FROM deletions").fetchall() == []


def test_an_application_of_many_tokens_is_refused_in_one_round_trip(
    http: httpx.Client, database: Database, application: str, valkey: redis.Redis
) -> None:
    from crud_service.erase.eraser import Eraser

    database.execute(
        "INSERT INTO rotations (application_id, former_token, idempotency_key, answer, finished)"
        " SELECT id, lpad('f' || n, 24, '0'), 'once', '', true"
        " FROM applications, generate_series(1, 500) n"
    )
    http.delete(application)
    before = valkey.info("stats")["total_reads_processed"]
    Eraser(lambda _: valkey, grace_seconds=60).erase_some(database)
    assert valkey.info("stats")["total_reads_processed"] - before < 100
    assert len(valkey.keys(f"{keys.chat_sequence('0')}*")) == 500


def test_a_search_for_keys_holds_up_nobody(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crud_service.erase import eraser, redis_keys

    monkeypatch.setattr(eraser, "KEYS_SECONDS", 0)
    monkeypatch.setattr(redis_keys, "KEYS_AT_ONCE", 10)
    prefix = keys.message_sequences(token_of(application))
    valkey.mset({f"{prefix}{number}": number for number in range(1, 201)})
    chat = add_chat_of(database, new_application(http), 3)
    http.delete(application)
    http.delete(chat)
    erasing = eraser.Eraser(lambda _: valkey, grace_seconds=0)
    erasing.erase_some(database)
    assert bodies(database) == []
    assert len(valkey.keys(f"{prefix}*")) > 100
    while erasing.erase_some(database):
        pass
    assert valkey.keys(f"*{token_of(application)}*") == []
    assert database.execute("SELECT FROM deletions").fetchall() == []


def test_one_search_finds_the_keys_of_all_former_tokens(
    http: httpx.Client, database: Database, application: str, valkey: redis.Redis
) -> None:
    from crud_service.erase.eraser import Eraser

    database.execute(
        "INSERT INTO rotations (application_id, former_token, idempotency_key, answer, finished)"
        " SELECT id, to_char(n, 'fm000000000000000000000000'), 'once', '{}', true"
        " FROM applications, generate_series(1, 50) n"
    )
    for number in range(1, 51):
        valkey.set(keys.idempotency(f"{number:024}", 1, "once"), "digest 1")
    others = keys.idempotency("1" * 24, None, f":{number:024}")
    valkey.set(others, "digest 1")
    http.delete(application)
    eraser = Eraser(lambda _: valkey, grace_seconds=0)
    valkey.config_resetstat()
    while eraser.erase_some(database):
        pass
    assert valkey.info("commandstats")["cmdstat_scan"]["calls"] < 10
    assert valkey.keys("*0000*") == [others.encode()]


def test_a_deletion_that_fails_does_not_hold_up_others(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
) -> None:
    from crud_service.erase.eraser import Eraser
    from crud_service.erase.rows import Deletion, erase_rows

    failing = add_chat_of(database, application, 3, "failing")
    other = add_chat_of(database, new_application(http), 3, "other")
    http.delete(failing)
    http.delete(other)

    def fail_for_one(connection: Database, deletion: Deletion) -> int | None:
        if deletion.access_token in application:
            raise psycopg.errors.QueryCanceled
        return erase_rows(connection, deletion)

    Eraser(lambda _: valkey, erase=fail_for_one).erase_some(database)
    assert bodies(database) == ["failing"]
    Eraser(lambda _: valkey).erase_some(database)
    assert bodies(database) == []


def test_a_redis_that_does_not_answer_is_asked_for_one_of_its_deletions(
    http: httpx.Client, database: Database, application: str
) -> None:
    """Each of them would wait for the timeout, and hold up those of other shards."""
    from crud_service.erase.eraser import Eraser

    http.delete(application)
    http.delete(new_application(http))
    asked: list[int] = []

    def unavailable(shard: int) -> redis.Redis:
        asked.append(shard)
        raise redis.ConnectionError

    Eraser(unavailable).erase_some(database)
    assert asked == [0]


def test_a_batch_ends_at_its_bytes(
    http: httpx.Client, database: Database, application: str, valkey: redis.Redis
) -> None:
    from crud_service.erase.rows import BATCH_BYTES, erase_rows, find_pending

    body = "x" * 65_536
    chat = add_chat_of(database, application, 2 * BATCH_BYTES // len(body), body)
    http.delete(chat)
    [deletion] = find_pending(database)
    assert erase_rows(database, deletion) == -(-BATCH_BYTES // len(body))


def test_it_ends_after_the_batch_in_progress(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
) -> None:
    from crud_service.erase.eraser import Eraser
    from crud_service.erase.rows import Deletion, erase_rows

    for path in (application, new_application(http), new_application(http)):
        http.delete(add_chat_of(database, path, 3))
    over = threading.Event()

    def erase_and_end(connection: Database, deletion: Deletion) -> int | None:
        over.set()
        return erase_rows(connection, deletion)

    assert Eraser(lambda _: valkey, over, erase=erase_and_end).erase_some(database) is False
    assert database.execute("SELECT count(*) FROM messages").fetchone() == (6,)


def test_it_ends_once_even_if_something_was_kept_meanwhile(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from crud_service.erase.eraser import Eraser
    from crud_service.erase.rows import Deletion, erase_rows

    http.delete(application)
    conflicts = [(application.removeprefix("/applications/"),)]

    def keep_one_more(connection: Database, deletion: Deletion) -> int | None:
        erased = erase_rows(connection, deletion)
        if erased is None and conflicts:
            connection.execute(
                "INSERT INTO conflicts (entry_id, access_token, number, body, accepted_at)"
                " VALUES ('1-1', %s, 1, '', now())",
                conflicts.pop(),
            )
        return erased

    eraser = Eraser(lambda _: valkey, grace_seconds=0, erase=keep_one_more)
    with caplog.at_level("INFO", "crud_service.erase"):
        while eraser.erase_some(database):
            pass
    of_the_eraser = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("crud_service.erase")
    ]
    assert of_the_eraser == ["erasing", "erased"]
    assert database.execute("SELECT FROM conflicts").fetchall() == []
    assert database.execute("SELECT FROM deletions").fetchall() == []
