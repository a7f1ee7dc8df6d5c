"""Large requests: the event loop does something else between any two of their steps."""

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterator, Sequence
from time import process_time
from typing import Any, cast

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbering_service.creation import Bulk
from numbering_service.creations import bulks
from numbering_service.creations.attributes import MessageFields, check_message
from numbering_service.creations.bulks import read_bulk
from numbering_service.creations.creating import LARGE_BYTES, Creations
from numbering_service.creations.large_requests import LargeRequests
from numbering_service.creations.requests import Target, read_target
from web.fields import MAX_MARKS, parse_json
from web.metadata import parse_digits
from web.problems import MalformedBody, Problem, ValidationFailed
from web.server.request import Request

Steps = list[str]
MESSAGES = f"/applications/{'t' * 24}/chats/1/messages"
CHAT, BULK = (cast(Target, read_target(path)) for path in (MESSAGES, f"{MESSAGES}/bulk"))


class Sent:
    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.body = b"x" * size

    def drop_body(self) -> None:
        self.body = b""


class Noted(Creations):
    """Notes which requests are read, and does no more."""

    def __init__(self, steps: Steps) -> None:
        nothing = cast(Any, None)
        super().__init__(
            *(nothing, nothing, nothing),
            waiting=nothing,
            public_url="",
            max_seeding=1,
            patience_seconds=1,
        )
        self.steps = steps

    def _create(self, request: Request, target: Target) -> None:
        self.steps.append(cast(Sent, request).name)

    def _create_in_steps(self, request: Request, target: Target) -> Iterator[None]:
        self._create(request, target)
        yield from ()


def send(creations: Creations, *requests: Sent, target: Target = CHAT) -> None:
    for request in requests:
        creations.create(cast(Request, request), target)


def test_others_have_their_turn_between_two_large_requests() -> None:
    async def run() -> Steps:
        steps: Steps = []
        creations = Noted(steps)
        send(creations, Sent("large 1", LARGE_BYTES + 1), Sent("large 2", LARGE_BYTES + 1))
        send(creations, Sent("large 3", LARGE_BYTES + 1), Sent("small", LARGE_BYTES))
        for _ in range(4):
            await asyncio.sleep(0)
            steps.append("another")
        return steps

    steps = asyncio.run(run())
    assert [step for step in steps if step != "another"] == [
        "small",
        *("large 1", "large 2", "large 3"),
    ]
    large = [steps.index(f"large {i}") for i in (1, 2, 3)]
    assert large[2] - large[1] == large[1] - large[0] == 2


def test_bulks_that_arrive_together_are_not_read_together() -> None:
    """However short: hundreds of messages take a while to check, and there may be many bulks."""

    async def run() -> Steps:
        steps: Steps = []
        creations = Noted(steps)
        send(creations, Sent("bulk 1", 1), Sent("bulk 2", 1), target=BULK)
        send(creations, Sent("message", 1))
        for _ in range(3):
            await asyncio.sleep(0)
            steps.append("another")
        return steps

    steps = asyncio.run(run())
    assert steps[0] == "message"
    assert "another" in steps[steps.index("bulk 1") : steps.index("bulk 2")]


def test_large_requests_that_wait_are_read_when_the_process_ends() -> None:
    async def run() -> Steps:
        steps: Steps = []
        creations = Noted(steps)
        send(creations, Sent("1", LARGE_BYTES + 1), Sent("2", LARGE_BYTES + 1))
        cast(Any, creations)._batcher = Drained()
        await creations.drain(1)
        return steps

    assert asyncio.run(run()) == ["1", "2"]


class Drained:
    async def drain(self, seconds: float) -> None:
        pass


def bulk_of(metadata: str, messages: int = 500) -> Request:
    every = ",".join([f'{{"body":"x","metadata":{metadata}}}'] * messages)
    body = f'{{"messages":[{every}]}}'.encode()
    assert len(body) < 1024 * 1024
    return cast(Request, Whole(body))


class Whole:
    headers = ((b"content-type", b"application/json"),)
    id = ""

    def __init__(self, body: bytes) -> None:
        self.body = body


# The most values that 4 KiB of metadata, or a request of 1 MiB, can have.
WORST = {
    "floats": '{"a":[' + ",".join(["1.5"] * 500) + "]}",
    "integers": '{"a":[' + ",".join(["1"] * 1000) + "]}",
    "objects": '{"a":[' + ",".join(["{}"] * 670) + "]}",
    "arrays": '{"a":[' + ",".join(["[]"] * 670) + "]}",
    "members": "{" + ",".join(f'"{i:x}":-0' for i in range(220)) + "}",
}


def in_one_step(steps: Generator[None, None, Bulk]) -> Bulk:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Bulk, end.value)


def read(body: bytes) -> Bulk:
    return in_one_step(read_bulk(BULK, cast(Request, Whole(body))))


@pytest.mark.parametrize("kind", WORST)
def test_a_bulk_of_any_valid_metadata_is_read(kind: str) -> None:
    bulk = in_one_step(read_bulk(BULK, bulk_of(WORST[kind])))
    assert len(bulk.messages) == 500
    expected = json.loads(WORST[kind], parse_int=str, parse_float=str)
    for message in (bulk.messages[0], bulk.messages[-1]):
        attributes = json.loads(message.attributes, parse_int=str, parse_float=str)
        assert attributes["metadata"] == expected


SPACE = st.text(" \t\r\n", max_size=2)
NUMBER = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)
VALUE = st.recursive(
    st.one_of(NUMBER, st.sampled_from(['"]"', '"}, {"', r'"\""', "[]", "{}", "null"])),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[ {', '.join(items)}\n]"),
    max_leaves=5,
)
OTHER = st.sampled_from(
    [
        '"messages":[]',
        '"messages" : 1.5',
        '"messages":[1.5]',
        '"other" :[2.5]',
        r'"\ud83d\ude00":{}',
    ]
)
# The same name, as JSON may write it.
MESSAGES_NAME = st.sampled_from(['"messages"', r'"m\u0065ssages"'])
METADATA_NAME = st.sampled_from(
    ['"metadata"', r'"\u006detadat\u0061"', '"metadata":[3.5],"metadata"']
)


@given(
    space=SPACE,
    values=st.lists(VALUE, min_size=1, max_size=4),
    others=st.lists(OTHER),
    names=st.tuples(MESSAGES_NAME, METADATA_NAME),
    mark=st.sampled_from([b"", BOM_UTF8]),
)
def test_numbers_keep_their_digits_however_a_bulk_is_written(
    space: str, values: list[str], others: list[str], names: tuple[str, str], mark: bytes
) -> None:
    messages, metadata = names
    every = f"{space},{space}".join(
        f'{{"body":{space}"x",{metadata}:{{"a":1.0,"b"{space}:{value}{space}}}}}'
        for value in values
    )
    last = f"{messages}{space}:{space}[{space}{every}{space}]"
    document = f"{space}{{{space}{f'{space},'.join([*others, last])}{space}}}{space}"
    bulk = in_one_step(read_bulk(BULK, cast(Request, Whole(mark + document.encode()))))
    for message, value in zip(bulk.messages, values, strict=True):
        attributes = json.loads(message.attributes, parse_int=str, parse_float=str)
        expected = json.loads(value, parse_int=str, parse_float=str)
        assert attributes["metadata"] == {"a": "1.0", "b": expected}


NUMBERED = '{"body":"x","metadata":{"a":1.5}}'
# What is beside the metadata and means nothing, in bodies whose numbers are to keep their digits.
BESIDE = {
    "members": f'{{"messages":[{NUMBERED}]' + ',"":0' * 9_000 + "}",
    "messages": "{" + '"messages":[],' * 7_000 + f'"messages":[{NUMBERED}]}}',
    "spaces": f'{{"messages":[{NUMBERED}' + " " * 1_000_000 + "]}",
    "arrays": f'{{"messages":[{NUMBERED}],"x":[' + ",".join(["[]"] * 20_000) + "]}",
    "integers in a message": f'{{"messages":[{NUMBERED[:-1]},"x":[' + "1," * 40_000 + "1]}]}",
}
BODIES = {
    **{kind: bulk_of(metadata) for kind, metadata in WORST.items()},
    **{f"{kind} beside": cast(Request, Whole(body.encode())) for kind, body in BESIDE.items()},
}


@pytest.mark.parametrize("kind", BODIES)
def test_no_step_of_reading_a_bulk_takes_long(kind: str) -> None:
    longest = []
    for _ in range(3):
        steps = read_bulk(BULK, BODIES[kind])
        seconds = []
        while True:
            started = process_time()
            ended = next(steps, BULK) is BULK
            seconds.append(process_time() - started)
            if ended:
                break
        longest.append(max(seconds))
        assert len(seconds) > 3 or kind not in WORST
    assert min(longest) < 0.1


class Parser:
    """Notes how much is parsed at once."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def loads(self, text: bytes) -> Any:
        self.lengths.append(len(text))
        return orjson.loads(text)


@pytest.mark.parametrize("kind", WORST)
def test_messages_of_a_bulk_are_parsed_one_by_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = Parser()
    monkeypatch.setattr(bulks, "orjson", parser)
    in_one_step(read_bulk(BULK, bulk_of(WORST[kind])))
    assert len(parser.lengths) == 501
    assert max(parser.lengths) <= len(f'{{"body":"x","metadata":{WORST[kind]}}}')


MANY = "[" + ",".join(['{"a":"b"}'] * (MAX_MARKS // 7 + 1)) + "]"
FEW = MANY[: len(MANY) // 2].rpartition(",")[0] + "]"


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (f'{{"messages":[{{"body":"x","other":{FEW}}}]}}', True),
        (f'{{"messages":[{{"body":"x","other":{MANY}}}]}}', False),
        (f'{{"messages":[{{"body":"x"}}],"other":{FEW}}}', True),
        (f'{{"messages":[{{"body":"x"}}],"other":{MANY}}}', False),
        (f'{{"messages":{MANY}', False),
    ],
)
def test_no_message_and_nothing_beside_them_takes_long_to_parse(body: str, accepted: bool) -> None:
    if accepted:
        assert len(read(body.encode()).messages) == 1
    else:
        with pytest.raises(MalformedBody, match="brackets"):
            read(body.encode())


def test_messages_of_nothing_but_brackets_or_quotes_are_read() -> None:
    bodies = ["[" * 60_000, '"\\' * 15_000, "{" * 60_000, ":," * 30_000, '\\"[' * 20_000]
    document = {"messages": [{"body": body} for body in bodies]}
    assert [each.body for each in read(orjson.dumps(document)).messages] == bodies


def outcome(reading: Callable[[bytes], Sequence[Any]], body: bytes) -> Any:
    """Return what is to be stored, or the refusal."""
    try:
        return [(each.body, each.attributes, each.reply_to) for each in reading(body)]
    except ValidationFailed as problem:
        return problem.errors
    except Problem as problem:
        return problem.status


def read_plainly(body: bytes) -> list[MessageFields]:
    """Read a bulk by parsing all of it at once."""
    fields = {} if body in {b"", BOM_UTF8} else parse_json(body, orjson.loads)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= 500:
        missing = "messages" not in fields
        text = "Is required." if missing else "Must be an array of 1 to 500 messages."
        raise ValidationFailed("messages", text)
    marked = parse_digits(msgspec.Raw(body.removeprefix(BOM_UTF8)))["messages"]
    read, errors = [], []
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            errors.append((f"messages[{position}]", "Must be an object."))
            continue
        if isinstance(message.get("metadata"), dict):
            message["metadata"] = marked[position]["metadata"]
        try:
            read.append(check_message(message))
        except ValidationFailed as problem:
            named = [(f"messages[{position}].{e['field']}", e["message"]) for e in problem.errors]
            errors += named
    if errors:
        raise ValidationFailed(*errors[0], *errors[1:20])
    return read


ANY_VALUE = st.recursive(
    NUMBER
    | st.sampled_from(["1e999", "-0", "null", "true", "NaN", "01", '"x"', r'"\u00e9"', r'"\ud800"'])
    | st.sampled_from(['"]"', r'"\""', r'"\\"', '" "', '"\n"', "[]", "{}", '"\ud83d\ude00"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "body", r"\u0061", ""]), inner), max_size=3).map(
            lambda pairs: "{" + " , ".join(f'"{name}":{value}' for name, value in pairs) + "}"
        )
    ),
    max_leaves=4,
)
FIELD = st.tuples(
    st.sampled_from(["body", "b\\u006fdy", "metadata", "sender", "reply_to", "other"]), ANY_VALUE
).map(lambda pair: f'"{pair[0]}":{pair[1]}')
MESSAGE = ANY_VALUE | st.lists(FIELD, max_size=3).map(
    lambda fields: "{" + ",".join(['"body":"x"', *fields]) + "}"
)
ARRAY = st.lists(MESSAGE, max_size=3).map(lambda messages: f"[{','.join(messages)}]")
MEMBERS = st.lists(
    st.tuples(MESSAGES_NAME | st.just('"x"'), SPACE, SPACE, ARRAY | ANY_VALUE).map(
        lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}{parts[3]}"
    ),
    max_size=3,
)
DOCUMENT = st.tuples(SPACE, MEMBERS).map(
    lambda parts: f"{parts[0]}{{{','.join(parts[1])}}}{parts[0]}"
)


@settings(max_examples=300, deadline=None)
@given(
    document=DOCUMENT,
    mark=st.sampled_from([b"", b"", BOM_UTF8]),
    copies=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=1)), max_size=2),
)
def test_a_bulk_is_read_as_if_it_were_parsed_at_once(
    document: str, mark: bytes, copies: bool, edits: list[tuple[int, bytes]]
) -> None:
    body = document.encode(errors="surrogatepass")
    if copies:
        body = b'{"copy":' + body.partition(b":")[2]
    for position, byte in edits:
        body = body[:position] + byte + body[position + 1 :]
    sent = mark + body
    assert outcome(lambda each: read(each).messages, sent) == outcome(read_plainly, sent)


def test_applications_take_turns_with_their_large_requests() -> None:
    async def run() -> Steps:
        steps: Steps = []

        def reading(name: str) -> Iterator[None]:
            for step in (1, 2):
                steps.append(f"{name}{step}")
                yield

        large = LargeRequests()
        for name in ("a", "b", "c"):
            large.add("loud", lambda name=name: reading(name))
        large.add("quiet", lambda: reading("q"))
        for _ in range(20):
            await asyncio.sleep(0)
        return steps

    assert asyncio.run(run()) == ["a1", "a2", "q1", "q2", "b1", "b2", "c1", "c2"]
