"""What clients repeat, how, and when they give up: against a server with a script."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from chat_backend_client import AsyncClient, Client, NoAnswer, Retries
from local_stack.applications import ROOT
from local_stack.ports import choose_port
from tests.clients.callers import ADMIN_TOKEN, CALLERS, Addresses, Caller, Failed
from tests.clients.packages import compiled_typescript, run
from tests.clients.scripted_server import LOST, Answer, ScriptedServer, json_answer, problem

TOKEN = "A" * 24
CHAT = (TOKEN, 1)
CREATED = json_answer({"number": 1, "chat_number": 1, "access_token": TOKEN}, 201)
MESSAGE = {"number": 1, "body": "mine"}


@pytest.fixture
def caller(caller_of_scripted: Caller) -> Caller:
    return caller_of_scripted


@pytest.mark.parametrize(
    "failure",
    [
        LOST,
        Answer(201, b'{"number": ', promised=400),
        problem(503, "store_unavailable", Retry_After="0"),
        problem(503, "overloaded", Retry_After="0"),
        problem(429, "rate_limited", Retry_After="0"),
        problem(408, "request_timeout"),
        Answer(502, b"<html>no problem document"),
        Answer(502, b'{"code": [502]}'),
        Answer(201, b'{"number": '),
        Answer(200, b"<html>no JSON"),
    ],
    ids=[
        *("lost", "cut", "unavailable", "overloaded", "rate limited", "late"),
        *("gateway", "gateway with JSON", "cut unnoticed", "200 of a gateway"),
    ],
)
def test_a_creation_is_repeated_with_its_key(
    caller: Caller, scripted: ScriptedServer, failure: Answer
) -> None:
    scripted.script = [failure, failure, CREATED]
    assert caller.call(CHAT, "create_message", "hi", sender="Ada")["number"] == 1
    keys = {received.headers["Idempotency-Key"] for received in scripted.received}
    bodies = [json.loads(received.body) for received in scripted.received]
    assert (len(scripted.received), len(keys)) == (3, 1)
    assert bodies == [{"body": "hi", "sender": "Ada"}] * 3


@pytest.mark.parametrize("caller_of_scripted", ["python", "asyncio"], indirect=True)
def test_a_creation_whose_answer_is_garbled_is_repeated(
    caller: Caller, scripted: ScriptedServer
) -> None:
    """Node.js may read such an answer without end; its client gives up then, in the test below."""
    garbled = Answer(201, b"no gzip", {"Content-Encoding": "gzip"}, promised=7)
    scripted.script = [garbled, garbled, CREATED]
    assert caller.call(CHAT, "create_message", "hi")["number"] == 1
    assert len(scripted.received) == 3


def test_each_creation_has_a_key_of_its_own(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [CREATED]
    caller.call(CHAT, "create_message", "hi")
    caller.call(CHAT, "create_message", "hi")
    caller.call((TOKEN,), "create_chat")
    caller.call(CHAT, "create_message", "hi", idempotency_key="mine")
    keys = [received.headers["Idempotency-Key"] for received in scripted.received]
    assert len(set(keys)) == 4
    assert keys[3] == "mine"


def test_an_empty_key_is_sent_as_it_is(caller: Caller, scripted: ScriptedServer) -> None:
    """For the service to refuse: a key in its place would create twice what is repeated."""
    scripted.script = [problem(422, "invalid_fields")]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "create_message", "hi", idempotency_key="")
    assert caught.value.fields["status"] == 422
    assert [received.headers["Idempotency-Key"] for received in scripted.received] == [""]


def test_retry_after_is_waited_for(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [problem(429, "rate_limited", Retry_After="1"), CREATED]
    began = time.monotonic()
    caller.call(CHAT, "create_message", "hi")
    assert time.monotonic() - began >= 1


def test_an_outage_ends_the_retries(impatient: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [problem(503, "store_unavailable")]
    began = time.monotonic()
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "create_message", "hi")
    assert caught.value.kind == "Problem"
    assert caught.value.fields["attempts"] == len(scripted.received) > 2
    assert time.monotonic() - began < 10


def test_lost_connections_end_the_retries(impatient: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [LOST]
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "create_message", "hi")
    assert (caught.value.kind, len(scripted.received) > 2) == ("NoAnswer", True)


@pytest.mark.parametrize("kind", CALLERS)
def test_an_error_of_the_connection_says_where(kind: str) -> None:
    """There are two addresses."""
    place = f"127.0.0.1:{choose_port()}"
    with (
        closing(CALLERS[kind](Addresses(f"http://{place}", "http://127.0.0.1:9"), 0)) as caller,
        pytest.raises(Failed) as caught,
    ):
        caller.call((), "create_application", "Mine")
    assert caught.value.kind == "NoAnswer"
    assert place in caught.value.fields["message"]


def test_the_message_of_an_error_has_no_access_token(
    impatient: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [LOST]
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "create_message", "hi")
    assert TOKEN not in caught.value.fields["message"]


def test_a_proxy_that_does_not_connect_is_tried_again(scripted: ScriptedServer) -> None:
    """Nothing was sent to the service, so that also an application may be tried again."""
    scripted.script = [Answer(503)]
    http, retries = httpx.Client(proxy=scripted.url), Retries(seconds=0.5)
    address = "https://chat.example.com"
    with Client(address, address, http=http, retries=retries) as client:
        with pytest.raises(NoAnswer) as caught:
            client.create_application("Mine")
        assert caught.value.attempts == len(scripted.received) > 1
        scripted.script = [Answer(503), Answer(407)]
        with pytest.raises(NoAnswer, match="407"):
            list(client.application(TOKEN).export())


def test_a_wait_beyond_the_time_for_retries_is_not_begun(
    impatient: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [problem(503, "overloaded", Retry_After="60")]
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "create_message", "hi")
    assert (caught.value.fields["retry_after"], len(scripted.received)) == (60, 1)


def test_a_date_in_retry_after_is_waited_for(impatient: Caller, scripted: ScriptedServer) -> None:
    """As some gateways send it."""
    past, future = (formatdate(time.time() + seconds, usegmt=True) for seconds in (-9, 3600))
    scripted.script = [
        problem(503, "overloaded", Retry_After=past),
        problem(503, "overloaded", Retry_After=future),
    ]
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "create_message", "hi")
    assert 3000 < caught.value.fields["retry_after"] <= 3600
    assert len(scripted.received) == 2


@pytest.mark.parametrize(
    "retry_after",
    [
        *("-1", "0.5", "soon", "Fri, 99 Nov 2026 10:00:00 GMT"),
        "Fri, 1 Nov 99999999999999999999 10:00:00 GMT",
        "Fri, 01 Nov 2999 10:00:00 +0200",
    ],
)
def test_a_retry_after_that_says_nothing_is_ignored(
    caller: Caller, scripted: ScriptedServer, retry_after: str
) -> None:
    scripted.script = [problem(503, "overloaded", Retry_After=retry_after), CREATED]
    caller.call(CHAT, "create_message", "hi")
    assert len(scripted.received) == 2


@pytest.mark.parametrize(
    "failure",
    [LOST, problem(503, "store_unavailable", Retry_After="0"), Answer(201, b'{"name": ')],
)
def test_an_application_is_not_created_twice(
    caller: Caller, scripted: ScriptedServer, failure: Answer
) -> None:
    """Without a key, it may have been created already."""
    scripted.script = [failure, CREATED]
    with pytest.raises(Failed):
        caller.call((), "create_application", "Mine")
    assert len(scripted.received) == 1


@pytest.mark.parametrize(
    "refusal", [problem(503, "overloaded", Retry_After="0"), problem(408, "request_timeout")]
)
def test_an_application_that_was_refused_is_tried_again(
    caller: Caller, scripted: ScriptedServer, refusal: Answer
) -> None:
    scripted.script = [refusal, CREATED]
    caller.call((), "create_application", "Mine")
    assert len(scripted.received) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 412, 413, 422, 500])
def test_an_error_that_would_recur_is_raised_at_once(
    caller: Caller, scripted: ScriptedServer, status: int
) -> None:
    scripted.script = [problem(status, "some_code")]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "update_message", 1, body="hi")
    fields = caught.value.fields
    assert (fields["status"], fields["code"], fields["request_id"]) == (status, "some_code", "r")
    assert len(scripted.received) == 1


@pytest.mark.parametrize(
    ("target", "method", "args"),
    [
        (("",), "read", ()),
        (("..",), "read", ()),
        ((f"{TOKEN}\n",), "read", ()),
        ((TOKEN, ".."), "delete", ()),
        ((TOKEN, "%2E%2e"), "delete", ()),
        ((TOKEN, "1?limit=1"), "read", ()),
        (CHAT, "delete_message", ("../../..",)),
        (CHAT, "update_message", ("..\\..\\..",)),
        (CHAT, "message", ("1/",)),
    ],
)
def test_a_malformed_token_or_number_names_nothing_else(
    caller: Caller,
    scripted: ScriptedServer,
    target: tuple[str, int],
    method: str,
    args: tuple[str, ...],
) -> None:
    """`..` for a chat is its application, which would be deleted in its place."""
    scripted.script = [Answer(204)]
    with pytest.raises((Failed, ValueError), match="has to consist of letters and digits"):
        caller.call(target, method, *args)
    assert scripted.received == []


@pytest.mark.parametrize(
    "address",
    [
        *("", "127.0.0.1:3000", "localhost:3000", "//localhost", "/api", "ftp://localhost"),
        *("http://localhost:port", "http://localhost:65536", "http://localhost\n", "http://[::1"),
        *("http://localhost?a=b", "http://localhost#a", "http://localhost/?", "http://localhost#"),
    ],
)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_malformed_address_is_refused_at_once(
    client: type[Client] | type[AsyncClient], address: str
) -> None:
    good = "http://127.0.0.1:3000"
    with pytest.raises(ValueError, match="crud_url has to be an address such as http://"):
        client(address, good)
    with pytest.raises(ValueError, match="numbering_url has to be an address such as http://"):
        client(good, address)


@pytest.mark.parametrize("value", ["secret\n", "secret ", "se\ncret", "se\x00cret", "\ud800secret"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(
    scripted: ScriptedServer, value: str
) -> None:
    scripted.script = [CREATED]
    with Client(scripted.url, scripted.url, admin_token=value) as client:
        chat = client.application(TOKEN).chat(1)
        calls: list[tuple[str, Callable[[], object]]] = [
            ("Authorization", lambda: client.create_application("Mine")),
            ("Idempotency-Key", lambda: chat.create_message("hi", idempotency_key=value)),
            ("If-Match", lambda: chat.update_message(1, body="hi", if_match=value)),
            ("Last-Event-ID", lambda: next(chat.follow(last_event_id=value))),
        ]
        for name, call in calls:
            with pytest.raises(ValueError, match=f"^{name} has to be one line without spaces"):
                call()
    assert scripted.received == []


def test_an_address_may_be_relative_to_that_of_the_http_client(scripted: ScriptedServer) -> None:
    scripted.script = [json_answer({"name": "read"})]
    with Client("/crud", "", http=httpx.Client(base_url=scripted.url)) as client:
        assert client.application(TOKEN).read()["name"] == "read"
    assert scripted.received[0].target == f"/crud/applications/{TOKEN}"


def test_mistakes_of_a_program_in_javascript_are_thrown_at_once() -> None:
    program = ROOT / "tests" / "clients" / "mistakes.mjs"
    addresses, values, requests = json.loads(run("node", program, compiled_typescript()))
    assert addresses == [
        f"TypeError: {option} has to be an address such as http://127.0.0.1:3000"
        for option in ("crudUrl", "numberingUrl")
        for _ in range(8)
    ]
    assert values == [f"TypeError: JSON has no {it}" for it in ("NaN", "Infinity", "-Infinity")]
    assert requests == 0


def test_a_body_that_no_service_reads_is_not_sent(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [CREATED]
    envelope = len('{"body":""}')
    caller.call(CHAT, "create_message", "x" * (2**20 - envelope))
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "create_message", "x" * (2**20 - envelope + 1))
    refused = (caught.value.kind, caught.value.fields["status"], caught.value.fields["code"])
    assert refused == ("Problem", 413, "body_too_large")
    assert [len(received.body) for received in scripted.received] == [2**20]


@pytest.mark.parametrize("document", [{"code": 502, "errors": "x"}, ["code"], "code", None])
def test_an_error_of_a_gateway_has_no_code_of_ours(
    caller: Caller, scripted: ScriptedServer, document: object
) -> None:
    scripted.script = [json_answer(document, 400)]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "update_message", 1, body="hi")
    fields = caught.value.fields
    assert (fields["status"], fields["code"], fields["errors"]) == (400, "unknown", [])
    assert fields["message"] == "400 unknown: Bad Request"


def test_what_is_not_stored_yet_is_waited_for_on_request(
    caller: Caller, scripted: ScriptedServer
) -> None:
    early = problem(404, "not_stored_yet", Retry_After="0")
    found = json_answer(MESSAGE, ETag='"1"')
    scripted.script = [early, early, found]
    assert caller.call(CHAT, "message", 1, until_stored=True) == MESSAGE
    scripted.script = [early, found]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "message", 1)
    assert caught.value.fields["code"] == "not_stored_yet"


def test_an_update_meets_its_own_change(caller: Caller, scripted: ScriptedServer) -> None:
    """The response to the first attempt was lost, after the change was made.

    What was made of `metadata` comes back with its keys in another order.
    """
    changed = {**MESSAGE, "metadata": {"a": [{"c": 3, "d": 4}], "b": {"": None, "1": "x"}}}
    sent = {"b": {"1": "x", "": None}, "a": [{"d": 4, "c": 3}]}
    scripted.script = [LOST, problem(412, "precondition_failed"), json_answer(changed)]
    options = {"body": "mine", "metadata": sent, "if_match": '"1"'}
    assert caller.call(CHAT, "update_message", 1, **options) == changed
    assert [received.method for received in scripted.received] == ["PUT", "PUT", "GET"]


def test_an_update_meets_its_own_change_as_json_has_it(scripted: ScriptedServer) -> None:
    changed = {**MESSAGE, "metadata": {"1": ["a", "b"]}}
    scripted.script = [LOST, problem(412, "precondition_failed"), json_answer(changed)]
    with Client(scripted.url, scripted.url) as client:
        chat = client.application(TOKEN).chat(1)
        metadata: dict[Any, object] = {1: ("a", "b")}
        assert chat.update_message(1, metadata=metadata, if_match='"1"') == changed


def test_an_update_in_javascript_meets_its_own_change_beside_what_is_undefined() -> None:
    """Which is not sent, and so is not changed."""
    program = ROOT / "tests" / "clients" / "undefined_change.mjs"
    assert json.loads(run("node", program, compiled_typescript())) == "mine"


@pytest.mark.parametrize(
    "changes",
    [{"body": "another"}, {"metadata": {"a": [2, 1]}}, {"metadata": {"a": [1, 2], "b": 0}}],
)
def test_an_update_that_was_overtaken_fails(
    caller: Caller, scripted: ScriptedServer, changes: dict[str, object]
) -> None:
    state = json_answer({**MESSAGE, "metadata": {"a": [1, 2]}})
    scripted.script = [LOST, problem(412, "precondition_failed"), state]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "update_message", 1, **changes, if_match='"1"')
    assert caught.value.fields["code"] == "precondition_failed"


def test_a_proxy_may_drop_the_entity_tag(caller: Caller, scripted: ScriptedServer) -> None:
    """What was read is returned; a change on condition of the empty tag is not made anyway."""
    scripted.script = [json_answer(MESSAGE)]
    assert caller.call(CHAT, "message", 1) == MESSAGE
    etag = caller.call(CHAT, "message_versioned", 1)["etag"]
    caller.call(CHAT, "update_message", 1, body="mine", if_match=etag)
    assert (etag, scripted.received[-1].headers.get("If-Match")) == ("", "")


def test_the_link_of_a_page_is_followed_at_our_own_address(
    caller: Caller, scripted: ScriptedServer
) -> None:
    link = '<https://elsewhere.example/x?limit=1&cursor=a%2Bb>; rel="next", <y?z=1>; rel="prev"'
    scripted.script = [json_answer([MESSAGE], Link=link), json_answer([MESSAGE])]
    assert caller.call(CHAT, "messages", page_size=1) == [MESSAGE] * 2
    path = f"/applications/{TOKEN}/chats/1/messages"
    assert [r.target for r in scripted.received] == [
        f"{path}?limit=1",
        f"{path}?limit=1&cursor=a%2Bb",
    ]


def test_the_operators_token_goes_where_it_is_needed(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [CREATED]
    caller.call((), "create_application", "Mine")
    caller.call(CHAT, "create_message", "hi")
    headers = [received.headers.get("Authorization") for received in scripted.received]
    # As UTF-8, which the services read it as.
    assert headers == [f"Bearer {ADMIN_TOKEN}".encode().decode("latin-1"), None]


EXPORT = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"type": "application", "access_token": TOKEN},
        {"type": "chat", "number": 1},
        {"type": "end", "chats": 1, "messages": 0},
    )
)


def test_an_export_is_begun_again_and_not_continued(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [
        LOST,
        problem(503, "store_unavailable", Retry_After="0"),
        Answer(200, EXPORT),
    ]
    assert len(caller.call((TOKEN,), "export")) == 3
    assert len(scripted.received) == 3


@pytest.mark.parametrize("size", [0, 60, EXPORT.index(b'{"type": "end"')])
@pytest.mark.parametrize("promised", [None, len(EXPORT)], ids=["ended", "lost"])
def test_an_export_that_is_cut_short_is_an_error(
    impatient: Caller, scripted: ScriptedServer, size: int, promised: int | None
) -> None:
    scripted.script = [Answer(200, EXPORT[:size], promised=promised)]
    with pytest.raises(Failed) as caught:
        impatient.call((TOKEN,), "export")
    assert caught.value.kind == "NoAnswer"
    assert len(scripted.received) == 1


@pytest.mark.parametrize("page", [b"<html>\n", b"\xff\n", b"\n"])
def test_a_line_of_an_export_that_is_not_json_is_an_error(
    impatient: Caller, scripted: ScriptedServer, page: bytes
) -> None:
    scripted.script = [Answer(200, page)]
    with pytest.raises(Failed) as caught:
        impatient.call((TOKEN,), "export")
    assert caught.value.kind == "NoAnswer"
    assert len(scripted.received) == 1


@pytest.mark.parametrize("status", [202, 204])
def test_a_deletion_is_repeated_when_a_gateway_answers_it(
    caller: Caller, scripted: ScriptedServer, status: int
) -> None:
    scripted.script = [Answer(200, b"<html>Sign in"), Answer(status)]
    assert caller.call((TOKEN,), "delete") is None
    assert len(scripted.received) == 2


def test_an_application_that_is_gone_when_its_deletion_is_repeated_was_deleted(
    caller: Caller, scripted: ScriptedServer
) -> None:
    """The response to the first attempt was lost, after the deletion was made."""
    scripted.script = [LOST, problem(404, "not_found")]
    assert caller.call((TOKEN,), "delete") is None
    assert len(scripted.received) == 2


@pytest.mark.parametrize(
    "script", [[problem(404, "not_found")], [LOST, Answer(404)]], ids=["ours", "of a gateway"]
)
def test_another_404_of_a_deletion_is_an_error(
    caller: Caller, scripted: ScriptedServer, script: list[Answer]
) -> None:
    scripted.script = [*script]
    with pytest.raises(Failed) as caught:
        caller.call((TOKEN,), "delete")
    assert caught.value.fields["status"] == 404


@pytest.mark.parametrize("line", [b"null", b"1", b'"x"', b"[]", b"false", b"<html>", b""])
def test_a_line_of_an_export_that_is_no_object_is_named(
    impatient: Caller, scripted: ScriptedServer, line: bytes
) -> None:
    scripted.script = [Answer(200, b'{"type": "application"}\n' + line + b'\n{"type": "end"}\n')]
    with pytest.raises(Failed) as caught:
        impatient.call((TOKEN,), "export")
    assert caught.value.kind == "NoAnswer"
    assert "line 2 " in caught.value.fields["message"]


def test_a_silent_response_is_given_up_in_javascript() -> None:
    """An export ends, a stream is resumed elsewhere, and their connections are closed."""
    program = ROOT / "tests" / "clients" / "silent_reader.mjs"
    outcomes = run("node", program, compiled_typescript()).splitlines()
    assert list(map(json.loads, outcomes)) == [["NoAnswer", [1, 2], [None, "1.0"]]] * 2


def test_a_response_in_javascript_may_be_waited_for_without_limit() -> None:
    program = ROOT / "tests" / "clients" / "no_timeout.mjs"
    assert run("node", program, compiled_typescript()).strip() == "1"


def test_an_export_in_javascript_may_be_read_slowly() -> None:
    """Only the server's silence is limited, not how long the program takes for a line."""
    program = ROOT / "tests" / "clients" / "slow_reader.mjs"
    assert json.loads(run("node", program, compiled_typescript())) == ["application", "end"]


def test_a_response_that_javascript_cannot_read_is_given_up_in_time() -> None:
    program = ROOT / "tests" / "clients" / "garbled_reader.mjs"
    late = "no response within 0.5 seconds"
    outcomes = json.loads(run("node", program, compiled_typescript()))
    assert outcomes == ["NoAnswer", "NoAnswer", late, late, late]


def test_a_rotation_is_repeated_with_its_key(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [LOST, json_answer({"access_token": "B" * 24})]
    assert caller.call((TOKEN,), "rotate")["access_token"] == "B" * 24
    keys = {received.headers["Idempotency-Key"] for received in scripted.received}
    assert (len(scripted.received), len(keys)) == (2, 1)
    assert scripted.received[0].headers["Authorization"].startswith("Bearer ")
