"""crud_service's OpenAPI document says what the code does; its paths are compared with a server."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types
from openapi_spec_validator import validate
from rest_framework.serializers import ValidationError

from crud_service.api.lists.list_request import PARAMETERS
from crud_service.api.serializers import ApplicationFields, ChatFields, MessageFields, SearchFields
from crud_service.chat.filters import FILTERS
from crud_service.schema.openapi import openapi_document
from crud_service.schema.openapi.components import PROBLEMS
from web import problems
from web.fields import MAX_BODY_BYTES, MAX_KEYWORD_CHARACTERS, MAX_NAME_CHARACTERS

DOCUMENT = openapi_document(admin_token=True)
FIELDS = {
    name: field
    for serializer in (ApplicationFields, ChatFields, MessageFields, SearchFields)
    for name, field in serializer().fields.items()
}
LENGTHS = [MAX_NAME_CHARACTERS, MAX_KEYWORD_CHARACTERS, MAX_BODY_BYTES]
VALUES: list[object] = [
    *("", " ", "a", "\n a\n", "\x00", "a\x00", "\u3164", "é" * 200, "é" * (MAX_BODY_BYTES // 2)),
    *("a" * (length + more) for length in LENGTHS for more in (0, 1)),
    *("relevance", "number", "-number", "-relevance"),
    *("2022-08-09T22:17:52.599Z", "2022-08-09T22:17:52+02:00", "2022-08-09T22:17:52"),
    *(0, 1, 1000, 1001, -1, 1.5, True, False, None, [], {}),
]


def resolved(node: Any) -> Any:
    """A part of the document, with what it refers to in place of its references."""
    if isinstance(node, list):
        return [resolved(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        _, _, kind, name = node["$ref"].split("/")
        return resolved(DOCUMENT["components"][kind][name])
    return {key: resolved(value) for key, value in node.items()}


OPERATIONS = {
    operation["operationId"]: resolved(operation)
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
}
RESPONSES = [
    pytest.param(response, id=f"{name}-{status}")
    for name, operation in OPERATIONS.items()
    for status, response in operation["responses"].items()
]


def names(operation: str, place: str) -> list[str]:
    """The names of an operation's parameters in the path, the query or a header."""
    return [p["name"] for p in OPERATIONS[operation]["parameters"] if p["in"] == place]


def media(node: Any) -> Iterator[dict[str, Any]]:
    """Every body of requests and responses in a part of the document."""
    if isinstance(node, dict):
        yield from node.get("content", {}).values()
        for value in node.values():
            yield from media(value)


def accepts(field: Any, value: object) -> bool:
    """Whether the check of a field accepts a value."""
    try:
        field.to_internal_value(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("admin_token", [True, False])
def test_it_is_valid(admin_token: bool) -> None:
    validate(openapi_document(admin_token=admin_token))


@pytest.mark.parametrize("name", FIELDS)
def test_no_schema_of_a_field_is_stricter_than_its_check(name: str) -> None:
    field: Any = FIELDS[name]
    schema = Draft202012Validator(field.schema)
    accepted = [value for value in VALUES if accepts(field, value)]
    assert accepted
    # In a query string everything is text.
    typed = [value for value in accepted if not (name == "limit" and isinstance(value, str))]
    assert [value for value in typed if not schema.is_valid(value)] == []


@pytest.mark.parametrize("name", FIELDS)
def test_the_schema_of_a_field_has_the_limits_of_its_check(name: str) -> None:
    field: Any = FIELDS[name]
    schema = Draft202012Validator(field.schema)
    loose = [value for value in VALUES if schema.is_valid(value) and not accepts(field, value)]
    # What does not show counts as blank, and bytes are counted, which no pattern can say.
    assert set(loose) <= {"\u3164", "é" * (MAX_BODY_BYTES // 2)}


@pytest.mark.parametrize(
    ("operation", "serializer"),
    [
        ("createApplication", ApplicationFields),
        ("updateApplication", ApplicationFields),
        ("updateChat", ChatFields),
        ("updateMessage", MessageFields),
    ],
)
def test_every_field_of_a_body_is_described(operation: str, serializer: Any) -> None:
    in_json, *in_forms = media(OPERATIONS[operation]["requestBody"])
    assert in_json["schema"]["properties"].keys() == serializer().fields.keys()
    for body in in_forms:  # which hold no objects
        assert body["schema"]["properties"].keys() == serializer().fields.keys() - {"metadata"}


def test_every_field_of_a_search_is_a_parameter() -> None:
    assert names("searchMessages", "query") == list(SearchFields().fields)


@pytest.mark.parametrize(
    ("operation", "own"),
    [
        ("listApplications", ()),
        ("listChats", ("sort", "include", "cursor")),
        ("listMessages", ("changed_after", "wait", *FILTERS)),
    ],
)
def test_every_parameter_of_a_list_is_described(operation: str, own: tuple[str, ...]) -> None:
    assert names(operation, "query") == [*PARAMETERS, *own]


@pytest.mark.parametrize("operation", ["listApplications", "listChats", "listMessages"])
def test_a_list_without_a_limit_is_not_said_to_have_one(operation: str) -> None:
    [limit] = [p["schema"] for p in OPERATIONS[operation]["parameters"] if p["name"] == "limit"]
    assert "default" not in limit


def test_only_a_list_that_may_wait_has_the_problems_of_waiting() -> None:
    of_waiting = {str(problems.TooManyStreams.status), str(problems.HeadersTooLarge.status)}
    for name, operation in OPERATIONS.items():
        if name.startswith("list"):
            may_wait = "wait" in {parameter["name"] for parameter in operation["parameters"]}
            assert operation["responses"].keys() & of_waiting == (of_waiting if may_wait else set())


def test_the_defaults_are_those_of_the_serializer() -> None:
    search = OPERATIONS["searchMessages"]["parameters"]
    described = {p["name"]: p["schema"].get("default") for p in search if p["in"] == "query"}
    found = SearchFields(data={"keyword": "x"})
    assert found.is_valid()
    assert described == {**found.validated_data, "keyword": None}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_request_may_name_its_id(operation: str) -> None:
    assert "X-Request-ID" in names(operation, "header")


@pytest.mark.parametrize("response", RESPONSES)
def test_every_response_has_an_id_and_says_what_it_is(response: dict[str, Any]) -> None:
    assert "X-Request-ID" in response["headers"]
    assert response["description"]


@pytest.mark.parametrize(
    "problem",
    [
        problems.Unauthorized(),
        problems.NotStoredYet(),
        problems.MethodNotAllowed(["GET"]),
        problems.StoreUnavailable(),
        problems.Overloaded(),
    ],
    ids=lambda problem: problem.code,
)
def test_every_header_of_an_error_is_described(problem: problems.Problem) -> None:
    described = {
        header for kind in PROBLEMS if isinstance(problem, kind) for header in PROBLEMS[kind]
    }
    assert described == problem.headers.keys()


def test_the_schema_of_errors_has_their_members() -> None:
    schema = DOCUMENT["components"]["schemas"]["Problem"]
    full = problems.ValidationFailed("name", "Is required.").document("/", "id")
    assert schema["properties"].keys() == full.keys()
    assert set(schema["required"]) == problems.NotFound().document("/", "id").keys()
    assert Draft202012Validator(resolved(schema)).is_valid(full)


def test_only_what_needs_the_admin_token_says_so() -> None:
    secured = {name for name, operation in OPERATIONS.items() if "security" in operation}
    deleting = {"deleteApplication", "deleteChat"}
    assert secured == {"listApplications", "createApplication", "rotateToken", *deleting}
    assert all("401" in OPERATIONS[name]["responses"] for name in secured)
    assert "security" not in str(openapi_document(admin_token=False))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_its_examples_follow_their_schemas(operation: str) -> None:
    shown = [body for body in media(OPERATIONS[operation]) if "example" in body]
    # What is deleted is answered without a body.
    assert bool(shown) != operation.startswith("delete")
    for body in shown:
        Draft202012Validator(body["schema"]).validate(body["example"])


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_the_examples_of_a_schema_follow_it(name: str) -> None:
    schema = resolved(DOCUMENT["components"]["schemas"][name])
    for example in schema.get("examples", []):
        Draft202012Validator(schema).validate(example)


def test_a_link_leads_to_an_operation_and_its_parameters() -> None:
    links = OPERATIONS["createApplication"]["responses"]["201"]["links"]
    assert links
    for link in links.values():
        assert set(link["parameters"]) <= set(names(link["operationId"], "path"))
