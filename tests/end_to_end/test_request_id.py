"""One request id, traced from the client through both services into the worker's log."""

import uuid
from collections.abc import Callable

import pytest
import redis

from bench.running_stack import RunningStack
from contract.keys import chat_sequence
from tests.api_client import SEARCHABLE_WITHIN_SECONDS, Api
from tests.log_lines import Line, json_lines
from tests.polling import eventually

HEADER = "X-Request-ID"
LOGGED_WITHIN_SECONDS = 30.0
FOLDED_WITHIN_SECONDS = 20.0

pytestmark = pytest.mark.timeout(500)


def lines_with(stack: RunningStack, part: str, request_id: str) -> list[Line]:
    """Return the lines of a process's log that contain a request id, oldest first."""
    return json_lines(stack.layout.logs / f"{part}.log", containing=f'"{request_id}"')


def wait_for_line(stack: RunningStack, part: str, request_id: str, message: str) -> Line:
    """Wait for the line with a message and a request id; fail if it does not appear."""

    def look() -> list[Line]:
        found = lines_with(stack, part, request_id)
        return [line for line in found if line["message"] == message]

    found = eventually(look, bool, LOGGED_WITHIN_SECONDS)
    assert found, f"{part} says nothing of {request_id}: {lines_with(stack, part, request_id)}"
    return found[0]


def wait_for_fold(stack: RunningStack, act: Callable[[str], None]) -> str:
    """Act under a new request id until a change is folded in its name; return that id.

    The indexer also polls once a second: a change that it finds before the doorbell rings is logged
    with the request id of the previous ring.
    """
    for _ in range(5):
        request_id = f"traced-{uuid.uuid4()}"
        act(request_id)
        folded = eventually(lambda: folds(stack, request_id), bool, FOLDED_WITHIN_SECONDS)  # noqa: B023
        if folded:
            assert folded[0]["woken_by"] == request_id
            return request_id
    pytest.fail("no change is folded in the name of its request")


def folds(stack: RunningStack, request_id: str) -> list[Line]:
    found = lines_with(stack, "worker", request_id)
    return [line for line in found if line["message"] == "changes folded for search"]


def quiet_chat(api: Api) -> str:
    """A chat whose only message is searchable, so that the next batch is only ours."""
    chat = api.chat(api.application())
    api.message(chat, "quiet")
    api.wait_for_numbers(f"{chat}/messages/search?keyword=quiet", [1], SEARCHABLE_WITHIN_SECONDS)
    return chat


def test_a_creation_can_be_traced_through_numbering_into_the_worker(
    stack: RunningStack, api: Api
) -> None:
    url = f"{api.numbering}{quiet_chat(api)}/messages"

    def create(request_id: str) -> None:
        answer = api.client.post(url, json={"body": "hello"}, headers={HEADER: request_id})
        assert answer.headers[HEADER] == request_id

    # The doorbell brought it along.
    request_id = wait_for_fold(stack, create)
    request = wait_for_line(stack, "numbering", request_id, "request")
    assert (request["request_id"], request["status"]) == (request_id, 201)
    batch = wait_for_line(stack, "worker", request_id, "batch stored")
    assert request_id in batch["request_ids"]


def test_an_update_can_be_traced_through_crud_into_the_indexer(
    stack: RunningStack, api: Api
) -> None:
    url = f"{api.crud}{quiet_chat(api)}/messages/1"

    def change(request_id: str) -> None:
        answer = api.client.put(url, json={"body": request_id}, headers={HEADER: request_id})
        assert answer.headers[HEADER] == request_id

    request_id = wait_for_fold(stack, change)
    request = wait_for_line(stack, "crud", request_id, "request")
    assert (request["method"], request["status"]) == ("PUT", 200)
    if stack.environment["ELASTICSEARCH_URL"]:
        sent = wait_for_line(stack, "worker", request_id, "documents sent to Elasticsearch")
        assert sent["woken_by"] == request_id


def test_a_missing_sequence_is_looked_up_under_the_id_of_its_request(
    stack: RunningStack, api: Api
) -> None:
    request_id = f"seeding-{uuid.uuid4()}"
    application = api.application()
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as client:
        assert client.delete(chat_sequence(application.rpartition("/")[2])) == 1
    url = f"{api.numbering}{application}/chats"
    assert api.client.post(url, headers={HEADER: request_id}).status_code == 201
    request = wait_for_line(stack, "crud", request_id, "request")
    assert request["path"].startswith("/internal/")


def test_a_problem_names_the_request_that_the_log_knows(stack: RunningStack, api: Api) -> None:
    for base, part in ((api.crud, "crud"), (api.numbering, "numbering")):
        answer = api.client.get(f"{base}/nothing/here")
        request_id = answer.headers[HEADER]
        assert answer.json()["request_id"] == request_id
        assert wait_for_line(stack, part, request_id, "request")["status"] == 404


def test_a_harmful_request_id_is_replaced(api: Api) -> None:
    for base in (api.crud, api.numbering):
        answer = api.client.get(f"{base}/health/live", headers={HEADER: 'x","level":"error'})
        assert '"' not in answer.headers[HEADER]
