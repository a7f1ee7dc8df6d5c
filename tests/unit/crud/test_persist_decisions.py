"""The decisions of the persist path that need no store."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from contract.entries import BadEntryError, Entry
from crud_service.persist.accepted import (
    MAX_BYTES,
    MAX_ENTRIES,
    PAGE,
    Batch,
    BatchLimit,
    after,
    check_storable,
)
from crud_service.persist.poison import is_refusal
from crud_service.persist.set_aside import from_payload, to_bytes, to_number, to_payload, to_text
from crud_service.persist.worker_metrics import cumulate, histogram_amounts
from crud_service.search.feed.attempts import BackOff
from web.fields import MAX_BODY_BYTES

TOKEN = "AbcdefghijklmnopqrstuvwX"
FIELDS = {
    b"access_token": TOKEN.encode(),
    b"chat_number": b"2",
    b"number": b"3",
    b"body": b"hi",
    b"request_id": b"r",
}


def entry(number: int = 1, chat_number: int | None = 1, body: str = "hi") -> Entry:
    return Entry("1-0", TOKEN, chat_number, number, body, "r")


def test_the_id_after_an_entry_is_the_lowest_higher_one() -> None:
    assert after("1650000000000-0") == "1650000000000-1"
    assert after("5-18446744073709551614") == "5-18446744073709551615"


@pytest.mark.parametrize(
    "error",
    [
        errors.NumericValueOutOfRange,
        errors.CharacterNotInRepertoire,
        errors.CheckViolation,
        errors.ForeignKeyViolation,
        errors.ProgramLimitExceeded,
        errors.RaiseException,
        psycopg.DataError,
    ],
)
def test_an_error_about_the_data_is_a_refusal(error: type[psycopg.Error]) -> None:
    assert is_refusal(error("x"))


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError,
        psycopg.InterfaceError,
        errors.AdminShutdown,
        errors.CannotConnectNow,
        errors.TooManyConnections,
        errors.DiskFull,
        errors.OutOfMemory,
        errors.ReadOnlySqlTransaction,
        errors.SerializationFailure,
        errors.DeadlockDetected,
        errors.QueryCanceled,
        errors.LockNotAvailable,
        errors.IdleInTransactionSessionTimeout,
        errors.UndefinedTable,
        errors.InsufficientPrivilege,
        errors.IndexCorrupted,
    ],
)
def test_an_outage_is_not_a_refusal(error: type[psycopg.Error]) -> None:
    assert not is_refusal(error("x"))


@pytest.mark.parametrize(
    "bad",
    [
        entry(number=0),
        entry(number=-1),
        entry(number=2**63),
        entry(chat_number=0),
        entry(chat_number=2**63),
        entry(body="nul\x00"),
        entry()._replace(access_token="nul\x00"),
        entry()._replace(attributes='{"sender":"nul\x00"}'),
    ],
)
def test_values_that_no_column_can_hold_are_refused_before_postgresql_is_queried(
    bad: Entry,
) -> None:
    with pytest.raises(BadEntryError):
        check_storable(bad)


@given(st.binary())
def test_bytes_survive_being_set_aside(value: bytes) -> None:
    text = to_text(value)
    assert "\x00" not in text
    assert to_bytes(text) == value


def test_a_payload_decodes_to_its_entry() -> None:
    read = from_payload("7-1", to_payload(FIELDS))
    assert read == Entry("7-1", TOKEN, 2, 3, "hi", "r")


@pytest.mark.parametrize(
    ("value", "number"),
    [(b"5", 5), (b"", None), (b"x", None), (b"-1", None), (b"9223372036854775808", None)],
)
def test_a_number_that_the_column_cannot_hold_is_left_out(value: bytes, number: int | None) -> None:
    assert to_number(value) == number


def test_an_unreadable_entry_counts_as_bad_and_as_read() -> None:
    batch = Batch()
    batch.add([(b"1-0", FIELDS), (b"1-1", {b"body": b"\xff"})])
    assert (len(batch), len(batch.bad), batch.last_id) == (2, 1, "1-1")


def test_a_batch_can_be_full_in_bytes_before_it_is_in_entries() -> None:
    batch = Batch()
    long = FIELDS | {b"body": b"x" * 65_536}
    while not batch.is_full:
        batch.add([(b"1-0", long)])
    assert len(batch) == 128 < MAX_ENTRIES


def test_a_histogram_counts_every_value_once() -> None:
    amounts = histogram_amounts("lag", (1, 2), [0.5, 1, 1.5, 9])
    assert amounts == {"lag:sum": 12, "lag:1": 2, "lag:2": 1, "lag:+Inf": 1}
    assert cumulate(amounts, "lag", (1, 2)) == [("1", 2), ("2", 3), ("+Inf", 4)]


def test_a_batch_that_timed_out_is_retried_in_smaller_ones_down_to_one_entry() -> None:
    limit = BatchLimit()
    tried = []
    while limit.entries > 1:
        limit.ran_out_of_time(limit.entries)
        tried.append(limit.entries)
    assert tried == [1000, 250, 62, 15, 3, 1]
    limit.ran_out_of_time(1)
    assert limit.entries == 1
    for _ in range(100):
        limit.stored()
    assert limit.entries == MAX_ENTRIES


def test_a_page_of_the_largest_entries_is_bounded() -> None:
    assert PAGE * MAX_BODY_BYTES <= MAX_BYTES


def test_elasticsearch_is_retried_within_a_second_however_long_it_was_down() -> None:
    back_off = BackOff()
    for _ in range(100):
        back_off.failed()
        assert 0 < back_off.remaining() <= 1
    back_off.succeeded()
    assert not back_off.remaining()
