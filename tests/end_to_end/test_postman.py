"""The Postman collection, run by newman against a real stack, and its examples."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.node_packages import require_node_packages
from web.cors import EXPOSED

POSTMAN = ROOT / "postman"
COLLECTION = POSTMAN / "chat-backend.postman_collection.json"
ENVIRONMENT = POSTMAN / "local.postman_environment.json"
ENDPOINTS = {
    "crud": {
        "GET /applications",
        "POST /applications",
        "GET /applications/{}",
        "PUT /applications/{}",
        "DELETE /applications/{}",
        "GET /applications/{}/export",
        "POST /applications/{}/rotate",
        "GET /applications/{}/chats",
        "GET /applications/{}/chats/{}",
        "PUT /applications/{}/chats/{}",
        "DELETE /applications/{}/chats/{}",
        "GET /applications/{}/chats/{}/messages",
        "GET /applications/{}/chats/{}/messages/{}",
        "PUT /applications/{}/chats/{}/messages/{}",
        "DELETE /applications/{}/chats/{}/messages/{}",
        "GET /applications/{}/chats/{}/messages/search",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /openapi.json",
    },
    "numbering": {
        "POST /applications/{}/chats",
        "POST /applications/{}/chats/{}/messages",
        "POST /applications/{}/chats/{}/messages/bulk",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /openapi.json",
    },
}


pytestmark = pytest.mark.timeout(500)


@dataclass(frozen=True)
class Run:
    """A run of newman: its exit code and output, and the last response to each request."""

    code: int
    output: str
    answers: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def run(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    require_node_packages(POSTMAN)
    report = tmp_path_factory.mktemp("newman") / "report.json"
    done = subprocess.run(
        newman(stack, report), cwd=POSTMAN, capture_output=True, text=True, timeout=300, check=False
    )
    executions = json.loads(report.read_text())["run"]["executions"]
    answers = {each["item"]["name"]: each["response"] for each in executions}
    return Run(done.returncode, done.stdout + done.stderr, answers)


def newman(stack: RunningStack, report: Path) -> list[str]:
    addresses = {"crud_url": stack.crud_url, "numbering_url": stack.numbering_url}
    variables = [word for name, url in addresses.items() for word in ("--env-var", f"{name}={url}")]
    command = ["node", "node_modules/newman/bin/newman.js", "run", COLLECTION.name]
    reporters = ["--reporters", "cli,json", "--reporter-json-export", str(report)]
    return [*command, "--environment", ENVIRONMENT.name, *variables, *reporters, "--color", "off"]


def requests() -> Iterator[dict[str, Any]]:
    """Every request of the collection, in order."""
    for folder in json.loads(COLLECTION.read_text())["item"]:
        yield from folder["item"]


def endpoint(request: dict[str, Any]) -> str:
    """Return verb and path without the names of variables."""
    path = "/".join(request["url"]["path"])
    return f"{request['method']} /" + re.sub(r"\{\{\w+\}\}|\b0{24}\b", "{}", path)


def shape(value: Any) -> Any:
    """The keys of a JSON document, its integers and the details of errors, whatever the rest."""
    if isinstance(value, dict):
        return {key: each if key == "detail" else shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return value if isinstance(value, int) else None


def documented_headers(response: dict[str, Any]) -> set[str]:
    """Return which headers of a response browsers may read, or say what it is.

    Without Link: what else the stack has decides whether a page has a next one.
    """
    named = {*(name.strip().lower() for name in EXPOSED.split(",")), "allow", "content-type"}
    return {each["key"].lower() for each in response["header"]} & (named - {"link"})


def test_the_collection_passes_from_top_to_bottom(run: Run) -> None:
    assert run.code == 0, run.output


@pytest.mark.parametrize("service", ENDPOINTS)
def test_the_collection_has_every_endpoint_of(service: str) -> None:
    base = f"{{{{{service}_url}}}}"
    found = {endpoint(it["request"]) for it in requests() if it["request"]["url"]["host"] == [base]}
    assert ENDPOINTS[service] <= found


def test_every_request_has_tests_and_an_example() -> None:
    for item in requests():
        listeners = {event["listen"] for event in item["event"]}
        assert "test" in listeners, item["name"]
        assert item["response"], item["name"]


def test_every_example_has_the_shape_of_the_real_answer(run: Run) -> None:
    for item in requests():
        example, answer = item["response"][0], run.answers[item["name"]]
        assert example["code"] == answer["code"], item["name"]
        if item["name"].endswith("OpenAPI document") or "metrics" in item["name"]:
            continue  # cut short: nobody reads a thousand lines of an example
        body = bytes(answer["stream"]["data"])
        if item["name"].startswith("Export"):
            continue  # not one JSON document but a line for each
        if not body:
            assert not example["body"], item["name"]
            continue
        real, shown = shape(json.loads(body)), shape(json.loads(example["body"]))
        assert shown == real, item["name"]


def test_every_example_has_the_headers_of_the_real_answer(run: Run) -> None:
    for item in requests():
        example, answer = item["response"][0], run.answers[item["name"]]
        assert documented_headers(example) == documented_headers(answer), item["name"]


def test_a_search_sends_its_keyword_as_form_data_with_get() -> None:
    by_name = {item["name"]: item for item in requests()}
    item = by_name["Search with the keyword as form-data"]
    assert item["request"]["method"] == "GET"
    assert item["request"]["body"]["formdata"][0]["key"] == "keyword"
    assert item["protocolProfileBehavior"] == {"disableBodyPruning": True}


def test_the_environment_has_every_variable_that_nothing_sets() -> None:
    text = COLLECTION.read_text()
    own = {each["key"] for each in json.loads(text)["variable"]}
    given = {each["key"] for each in json.loads(ENVIRONMENT.read_text())["values"]}
    assert set(re.findall(r"\{\{(\w+)\}\}", text)) - own == given
