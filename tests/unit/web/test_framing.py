"""One request is one request, wherever the network splits it."""

import gc
from collections.abc import Iterator

import pytest

from tests.unit.web.web_corpus import ACCEPTED, REFUSED, Case, post
from tests.unit.web.web_server import Machine, Outcome

NEXT = post(b"behind", target=b"/behind")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def check(outcome: Outcome, *cases: Case) -> None:
    """Check that the application saw these requests, and that each was answered."""
    requests = [request for case in cases for request in case.requests]
    targets = [(it.method, target_of(it.raw_path, it.query), it.body) for it in outcome.seen]
    assert targets == requests
    assert outcome.statuses == [status for case in cases for status in case.statuses]


def target_of(path: bytes, query: bytes) -> bytes:
    return path + b"?" + query if query else path


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_a_request_is_read_alike_in_one_piece_and_byte_by_byte(
    machine: Machine, case: Case
) -> None:
    whole = machine.read([case.raw])
    check(whole, case)
    assert machine.read([case.raw[i : i + 1] for i in range(len(case.raw))]) == whole


def test_white_space_around_a_header_is_not_part_of_its_value(machine: Machine) -> None:
    raw = post(b"x").replace(b"Host: x\r\n", b"Host: \tx \r\nIdempotency-Key: \t k 1 \t\r\n")
    outcome = machine.read([raw])
    assert outcome.statuses == [200]
    headers = dict(outcome.seen[0].headers)
    assert (headers[b"host"], headers[b"idempotency-key"]) == (b"x", b"k 1")


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_a_request_is_read_alike_wherever_it_is_split(machine: Machine, case: Case) -> None:
    whole = machine.read([case.raw])
    for cut in range(1, len(case.raw)):
        assert machine.read([case.raw[:cut], case.raw[cut:]]) == whole, cut


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_three_pipelined_requests_are_read_alike_wherever_they_are_split(
    machine: Machine, case: Case
) -> None:
    following = Case(NEXT, (("POST", b"/behind", b"behind"),))
    raw = NEXT + case.raw + NEXT
    expected = (following, case, following) if case.is_open else (following, case)
    check(machine.read([raw]), *expected)
    for cut in range(1, len(raw)):
        check(machine.read([raw[:cut], raw[cut:]]), *expected)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_refused_request_is_refused_wherever_it_is_split(machine: Machine, case: Case) -> None:
    """And nothing behind it runs."""
    raw = case.raw + NEXT
    check(machine.read([raw]), case)
    check(machine.read([raw[i : i + 1] for i in range(len(raw))]), case)
    for cut in range(1, min(len(raw), 500)):
        check(machine.read([raw[:cut], raw[cut:]]), case)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_a_problem_document_and_noted(machine: Machine, case: Case) -> None:
    machine.app.refused = []
    machine.read([case.raw])
    assert machine.app.refused == list(case.statuses)


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_a_truncated_request_is_never_handed_over(machine: Machine, case: Case) -> None:
    whole = machine.read([case.raw]).seen
    for cut in range(len(case.raw)):
        seen = machine.read([case.raw[:cut]], half_close=True).seen
        assert seen == whole[: len(seen)]
        assert len(seen) < len(whole)


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_no_header_of_the_connection_reaches_an_application(machine: Machine, case: Case) -> None:
    for request in machine.read([case.raw]).seen:
        names = {name for name, _ in request.headers}
        assert not names & {b"connection", b"upgrade", b"http2-settings", b"x-a"}
        assert all(name == name.lower() for name in names)


@pytest.mark.parametrize("raw", [NEXT, NEXT[:-1], NEXT[:9], b"rubbish\n", b""])
def test_a_closed_connection_is_freed_without_the_collector(
    machine: Machine, no_collector: None, raw: bytes
) -> None:
    machine.read([raw])
    assert machine.last is not None
    assert machine.last() is None
