"""Paths, keys, request ids and problem documents: what both services rely on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import keys
from contract.paths import MAX_NUMBER, mask_path, parse_number
from contract.sequences import sequence_path
from web import problems
from web.problems import MethodNotAllowed, NotFound, Problem, StoreUnavailable
from web.request_id import request_id
from web.server.request import Request

TOKEN = "AbcdefghijklmnopqrstuvwX"
PROBLEMS = [
    kind for kind in vars(problems).values() if isinstance(kind, type) and issubclass(kind, Problem)
]


@given(st.integers(1, MAX_NUMBER))
def test_a_number_is_itself(number: int) -> None:
    assert parse_number(str(number)) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "01", "-1", "+1", "1.0", "1_0", "1e3", " 1", "1\n", "abc", "٣", "\uff11", "0x1",
     str(MAX_NUMBER + 1), "9" * 19, "9" * 5000],
)  # fmt: skip
def test_anything_else_is_not_a_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "key", ["sequence:chats:", "sequence:messages:", "idempotency:", "limiter:"]
)
def test_a_token_that_redis_cut_short_in_an_error_is_masked(key: str) -> None:
    error = "unknown command 'EVALSHA', with args beginning with: '4' '{}' "
    assert mask_path(error.format(f"{key}{TOKEN[:19]}")) == error.format(f"{key}{TOKEN[:4]}…")


def test_masked_paths_show_four_characters_of_a_token() -> None:
    path = f"/applications/{TOKEN}/chats/1/messages"
    assert mask_path(path) == "/applications/Abcd…/chats/1/messages"
    assert mask_path(f"{path}?next={TOKEN}") == "/applications/Abcd…/chats/1/messages?next=Abcd…"
    assert mask_path("/health/live") == "/health/live"


@pytest.mark.parametrize(
    "mistyped",
    [TOKEN[:-1], TOKEN[1:], f"{TOKEN[:12]}-{TOKEN[12:]}", f"{TOKEN[:12]}%0A{TOKEN[12:]}"],
)
def test_a_mistyped_token_is_masked_too(mistyped: str) -> None:
    path = f"/applications/{mistyped}"
    assert mask_path(path) == f"/applications/{mistyped[:4]}…"
    assert mask_path(f"{path}/chats?limit=1") == f"/applications/{mistyped[:4]}…/chats?limit=1"
    assert (
        mask_path(f"/applications//'{mistyped}', 404") == f"/applications//'{mistyped[:4]}…', 404"
    )


@given(st.text("abAB09._:-", min_size=1, max_size=128))
def test_a_harmless_request_id_is_kept(header: str) -> None:
    assert request_id(header) == header


@pytest.mark.parametrize("header", [None, "", "a b", "a\n", 'a"', "é", "a" * 129, "{}", "\x00"])
def test_any_other_is_replaced(header: str | None) -> None:
    made = request_id(header)
    assert made != header
    assert request_id(made) == made
    assert made != request_id(None)


def test_made_request_ids_do_not_tell_how_many_there_were() -> None:
    made = [request_id(None) for _ in range(100)]
    assert len({each[:8] for each in made}) == 100
    assert made not in (sorted(made), sorted(made, reverse=True))


def test_a_request_keeps_the_id_that_was_made_for_it() -> None:
    request = Request(None, "GET", "/", b"/", b"", "1.1", [], b"", 0.0)
    made = request.id
    assert request.id == made


def test_no_two_redis_keys_collide() -> None:
    made = {
        keys.chat_sequence(TOKEN),
        keys.message_sequence(TOKEN, 1),
        keys.message_sequence(TOKEN, 11),
        keys.idempotency(TOKEN, None, "1:k"),
        keys.idempotency(TOKEN, 1, "k"),
        keys.idempotency(TOKEN, 1, "1:k"),
        keys.idempotency(TOKEN, 11, "k"),
        keys.batch("1"),
        keys.seed_lock(keys.chat_sequence(TOKEN)),
    }
    assert len(made) == 9


def test_a_message_sequence_starts_with_its_applications_prefix() -> None:
    assert keys.message_sequence(TOKEN, 12) == keys.message_sequences(TOKEN) + "12"


def test_sequence_paths_name_the_chat_of_a_message() -> None:
    assert sequence_path(TOKEN, None) == f"/internal/sequences/{TOKEN}"
    assert sequence_path(TOKEN, 7) == f"/internal/sequences/{TOKEN}/7"


@given(st.text(max_size=700))
def test_a_problem_is_json_with_a_harmless_instance(path: str) -> None:
    path = path.encode(errors="replace").decode()
    document = json.loads(NotFound().render("/" + path, "r-1"))
    assert list(document) == [
        "type", "title", "status", "detail", "instance", "code", "request_id"
    ]  # fmt: skip
    assert (document["status"], document["code"], document["request_id"]) == (
        404,
        "not_found",
        "r-1",
    )
    assert document["instance"].isascii()
    assert not set(document["instance"]) & set('<>"{}|\\^` \n')
    assert len(document["instance"]) <= problems.MAX_INSTANCE


def test_every_kind_of_problem_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in PROBLEMS if kind is not Problem]
    assert len(codes) == len(set(codes)) > 10
    assert all(name in (problems.__doc__ or "") for name in codes)


def test_some_problems_have_headers() -> None:
    assert MethodNotAllowed(["GET", "PUT"]).headers == {"Allow": "GET, PUT"}
    assert StoreUnavailable(retry_after=7).headers == {"Retry-After": "7"}
    assert problems.Unauthorized().headers == {"WWW-Authenticate": "Bearer"}
