"""Streams that break, against a server with a script."""

import asyncio
import json
import signal
import threading
from contextlib import AsyncExitStack, aclosing

import pytest

from chat_backend_client import Application, AsyncClient, Client, Ready, Retries
from local_stack.applications import ROOT
from tests.clients.callers import Caller, Failed
from tests.clients.packages import compiled_typescript, run
from tests.clients.scripted_server import LOST, Answer, ScriptedServer, json_answer, problem

TOKEN = "A" * 24
CHAT = (TOKEN, 1)
EVENTS = {"Content-Type": "text/event-stream"}
READY = "retry: 20\nevent: ready\nid: {}\ndata: {{}}\n\n"

RESET = "event: reset\nid: {}\ndata: {{}}\n\n"


@pytest.fixture
def caller(caller_of_scripted: Caller) -> Caller:
    return caller_of_scripted


def created(number: int, body: str = "hi") -> str:
    data = f'{{"number":{number},"body":"{body}"}}'
    return f"event: message.created\nid: {number}.0\ndata: {data}\n\n"


def events(*texts: str, promised: int | None = None) -> Answer:
    return Answer(200, "".join(texts).encode(), EVENTS, promised)


def numbers(followed: list[dict[str, object]]) -> list[object]:
    return [event["message"]["number"] for event in followed]


def resumed_from(server: ScriptedServer) -> list[str | None]:
    """Return the ids that requests came with."""
    return [
        {name.lower(): value for name, value in received.headers.items()}.get("last-event-id")
        for received in server.received
    ]


def test_a_stream_goes_on_behind_the_last_whole_event(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [
        events(READY.format("0.0"), created(1), created(2)[:-1]),
        LOST,
        problem(503, "overloaded", Retry_After="0"),
        events(READY.format("1.0"), created(2), promised=10_000),
        events(READY.format("2.0"), created(3)),
    ]
    assert numbers(caller.call(CHAT, "follow", after=0, take=3)) == [1, 2, 3]
    assert resumed_from(scripted) == [None, "1.0", "1.0", "1.0", "2.0"]
    assert scripted.received[0].target.endswith("/messages/stream?after=0")


def test_a_stream_that_began_now_is_resumed_from_there(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [events(READY.format("7.2")), events(READY.format("7.2"), created(8))]
    assert numbers(caller.call(CHAT, "follow", take=1)) == [8]
    assert resumed_from(scripted) == [None, "7.2"]


def test_a_stream_starts_behind_an_id(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [events(READY.format("7.2"), created(8))]
    assert caller.call(CHAT, "follow", last_event_id="7.2", take=1)[0]["id"] == "8.0"
    assert resumed_from(scripted) == ["7.2"]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"], ids=["CRLF", "CR", "LF"])
def test_events_are_read_to_the_letter(caller: Caller, scripted: ScriptedServer, end: str) -> None:
    """Separators that JSON leaves as they are end no line; comments and unknown events pass."""
    strange = "a\u2028b\u0085cé🤦🏽"
    text = READY.format("0.0") + ":\n\nevent: unknown\nid: 0.1\ndata: x\n\n" + created(1, "§")
    text = "\ufeff" + text.replace("\n", end) + ":" + end
    scripted.script = [events(text.replace("§", strange))]
    followed = caller.call(CHAT, "follow", after=0, take=1)
    assert followed[0]["message"]["body"] == strange
    assert (followed[0]["type"], followed[0]["id"]) == ("message.created", "1.0")


def test_a_position_that_is_not_stored_yet_is_waited_for(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [
        problem(404, "not_stored_yet", Retry_After="0"),
        events(READY.format("1.0"), RESET.format("1.0")),
        events(READY.format("2.0"), created(3)),
    ]
    assert numbers(caller.call(CHAT, "follow", after=2, take=1)) == [3]
    assert resumed_from(scripted) == [None, None, None]


def test_a_position_that_was_lost_is_an_error(caller: Caller, scripted: ScriptedServer) -> None:
    scripted.script = [
        events(READY.format("5.0"), created(6)),
        events(READY.format("4.0"), RESET.format("4.0"), created(5)),
    ]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "follow", take=2)
    assert (caught.value.kind, caught.value.fields["last_event_id"]) == ("StreamReset", "4.0")


@pytest.mark.parametrize("status", [404, 410, 422])
def test_a_stream_that_cannot_be_had_is_an_error(
    caller: Caller, scripted: ScriptedServer, status: int
) -> None:
    scripted.script = [problem(status, "some_code")]
    with pytest.raises(Failed) as caught:
        caller.call(CHAT, "follow", take=1)
    assert caught.value.fields["status"] == status


def test_a_page_in_place_of_a_stream_ends_the_retries(
    impatient: Caller, scripted: ScriptedServer
) -> None:
    """As a network answers that one has to sign in to."""
    scripted.script = [Answer(200, b"<html>Sign in", {"Content-Type": "text/html"})]
    with pytest.raises(Failed) as caught:
        impatient.call(CHAT, "follow", take=1)
    assert caught.value.kind == "NoAnswer"
    assert "text/html" in caught.value.fields["message"]
    assert len(scripted.received) > 2


def test_a_stream_goes_on_behind_a_page_in_its_place(
    caller: Caller, scripted: ScriptedServer
) -> None:
    scripted.script = [
        events(READY.format("0.0"), created(1)),
        Answer(200, b"<html>Sign in", {"Content-Type": "text/html"}),
        Answer(200, b"", {}),
        events(READY.format("1.0"), created(2)),
    ]
    assert numbers(caller.call(CHAT, "follow", after=0, take=2)) == [1, 2]
    assert resumed_from(scripted) == [None, "1.0", "1.0", "1.0"]


def test_an_inbox_is_told_to_read_the_list_again(caller: Caller, scripted: ScriptedServer) -> None:
    state = '{"chat_number":1,"highest_number":2,"highest_change":0}'
    changed = f"event: chat.changed\nid: 2\ndata: {state}\n\n"
    scripted.script = [events(READY.format(1)), events(READY.format(1), changed)]
    followed = caller.call((TOKEN,), "follow", take=3)
    assert [event["type"] for event in followed] == ["ready", "ready", "chat.changed"]
    assert (followed[2]["chat_number"], followed[2]["highest_number"]) == (1, 2)


def test_many_streams_leave_a_connection_for_a_call(scripted: ScriptedServer) -> None:
    """As many as httpx has connections by default."""
    scripted.script = [events(READY.format(1))] * 100 + [json_answer({"name": "read"})]
    with Client(scripted.url, scripted.url, retries=Retries(seconds=0)) as client:
        application = client.application(TOKEN)
        streams = [application.follow() for _ in range(100)]
        assert {type(next(stream)) for stream in streams} == {Ready}
        assert application.read()["name"] == "read"


def test_many_streams_leave_a_connection_for_a_coroutine(scripted: ScriptedServer) -> None:
    scripted.script = [events(READY.format(1))] * 100 + [json_answer({"name": "read"})]
    client = AsyncClient(scripted.url, scripted.url, retries=Retries(seconds=0))

    async def read_beside_streams() -> Application:
        async with client, AsyncExitStack() as held:
            application = client.application(TOKEN)
            for _ in range(100):
                await anext(await held.enter_async_context(aclosing(application.follow())))
            return await application.read()

    assert asyncio.run(read_beside_streams())["name"] == "read"


def test_a_stream_in_javascript_is_ended_by_a_signal() -> None:
    """Also while it waits for an event, or has more of them; the connection is closed."""
    program = ROOT / "tests" / "clients" / "abort.mjs"
    *silent, together = run("node", program, compiled_typescript()).splitlines()
    assert list(map(json.loads, silent)) == [[True, False]] * 2
    assert json.loads(together) == ["message.created"]


def test_a_blocking_stream_leaves_a_server_alone_for_centuries(scripted: ScriptedServer) -> None:
    scripted.script = [problem(503, "overloaded", Retry_After="9" * 20)]
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    main = threading.main_thread().ident
    assert main is not None
    # Ends a wait that would outlast the test; an error in its place is there long before.
    end = threading.Timer(1, signal.pthread_kill, (main, signal.SIGUSR1))
    end.start()
    try:
        with Client(scripted.url, scripted.url) as client, pytest.raises(KeyboardInterrupt):
            next(client.application(TOKEN).follow())
    finally:
        end.cancel()
        end.join()
        signal.signal(signal.SIGUSR1, before)
    assert len(scripted.received) == 1


def test_a_stream_in_javascript_leaves_a_server_alone_for_as_long_as_it_asks() -> None:
    program = ROOT / "tests" / "clients" / "far_retry.mjs"
    assert run("node", program, compiled_typescript()).strip() == "1"
