"""The OpenAPI document: descriptions of the creations, and the page that shows it."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from contract.paths import TOKEN_PATTERN
from numbering_service.creations.bulks import MAX_MESSAGES
from web.fields import MAX_BODY_BYTES, MAX_NAME_CHARACTERS, MAX_SENDER_CHARACTERS
from web.openapi import (
    COMMON_ERRORS,
    HEALTH_STATUS,
    LATENCY_MS,
    METADATA,
    NUMBER,
    POLICY,
    PROBLEM,
    UNAVAILABLE_SHARDS,
    Json,
    health_schema,
    record,
    text_schema,
)
from web.problems import (
    CONTENT_TYPE,
    BodyTooLarge,
    KeyReused,
    NotFound,
    Problem,
    RateLimited,
    StoreUnavailable,
)

DESCRIPTION = (
    """Creates chats and messages and assigns their numbers: 1, 2, 3… without gaps.
What is answered 201 is on disk. Everything is read, updated and searched at crud_service.

Every path works with and without a trailing slash. A field is read from a JSON body, a form
(urlencoded or multipart) or the query string, in this order. Every error is a problem document
(RFC 9457) with a stable `code`; every response has an `X-Request-ID`. If the response to a
creation was lost, repeat it with the same `Idempotency-Key`: it happens only once."""
    + COMMON_ERRORS
)
TAGS = [
    {"name": "creations", "description": "Numbered and on disk before the response is sent."},
    {"name": "operations", "description": "Health and metrics, for operators."},
]

TOKEN_EXAMPLE = "J4bX0cPlqgVzT9kRwY2mNs6A"  # noqa: S105 - an example, opens nothing

METADATA_SCHEMA = METADATA | {"examples": [{"attachments": ["https://files.example/1.png"]}]}
MESSAGE_SCHEMA: Json = {
    "type": "object",
    "required": ["body"],
    "properties": {
        "body": text_schema(
            MAX_BODY_BYTES,
            f"The text, 1 to {MAX_BODY_BYTES} bytes of UTF-8, not blank; kept verbatim.",
        )
        | {"examples": ["Hello!"]},
        "sender": text_schema(
            MAX_SENDER_CHARACTERS,
            f"Who sent it, 1 to {MAX_SENDER_CHARACTERS} characters; it is not verified.",
        )
        | {"examples": ["Ann"]},
        "metadata": METADATA_SCHEMA,
        "reply_to": NUMBER
        | {"description": "The number of an earlier message of this chat.", "examples": [1]},
    },
}
CHAT_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "name": text_schema(
            MAX_NAME_CHARACTERS, f"1 to {MAX_NAME_CHARACTERS} characters, not blank."
        )
        | {"examples": ["Support"]},
        "metadata": METADATA_SCHEMA,
    },
}
_BULK_SCHEMA: Json = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_MESSAGES,
            "items": MESSAGE_SCHEMA,
            "description": "The messages, in the order of their numbers.",
        }
    },
}
BULK_BODY: Json = {"required": True, "content": {"application/json": {"schema": _BULK_SCHEMA}}}
RETRY_AFTER = {"description": "Seconds to wait before retrying.", "schema": {"type": "integer"}}
RATE_LIMIT_HEADERS = {
    "RateLimit": {
        "description": "Where a limit applies: `r` creations are available now; all of them again, "
        "or after a refusal the refused one, in `t` seconds.",
        "schema": {"type": "string", "examples": ['"application";r=19;t=1']},
    },
    "RateLimit-Policy": {
        "description": "The limit that applies: `q` creations in `w` seconds.",
        "schema": {"type": "string", "examples": ['"application";q=50;qu="creations";w=1']},
    },
}
REQUEST_ID = {"description": "The id of the request in our logs.", "schema": {"type": "string"}}
# Of the probes. As an argument of theirs, FastAPI would document a 422 that cannot occur.
REQUEST_ID_PARAMETER = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Used as the id of the request if it is valid.",
    "schema": {"type": "string"},
}
LIVE = record({"status": {"type": "string", "enum": ["ok"]}})
HEALTH = health_schema(
    record(
        {"status": HEALTH_STATUS},
        optional={
            "latency_ms": LATENCY_MS,
            "reason": {"type": "string", "description": "Why creations can't be acknowledged."},
            "unavailable_shards": UNAVAILABLE_SHARDS,
        },
    ),
    "redis",
    "crud_service",
)


def add_routes(api: FastAPI) -> None:
    """Add the interactive documentation, and the files that its page loads."""
    api.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    api.add_api_route("/docs/", docs, methods=["GET"], include_in_schema=False)
    # The framework serves the document without a trailing slash only.
    api.add_api_route(f"{api.openapi_url}/", api.openapi, include_in_schema=False)
    # The page's policy allows no script within it.
    script = static_file(files("numbering_service.api"), "docs.js")
    api.add_api_route("/docs/docs.js", script, include_in_schema=False)
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        file = static_file(files("fastapi_swagger.resources"), name)
        api.add_api_route(f"/docs/{name}", file, include_in_schema=False)


def request_body(schema: Json) -> Json:
    """Describe the body of a creation; forms have no metadata."""
    properties = schema["properties"]
    in_forms = {name: field for name, field in properties.items() if name != "metadata"}
    form = {"schema": {**schema, "properties": in_forms}}
    is_required = "required" in schema
    # Where no field is needed, null and "" will do as well.
    nothing = {} if is_required else {"type": ["object", "null", "string"], "maxLength": 0}
    return {
        "required": is_required,
        "content": {
            "application/json": {"schema": {**schema, **nothing}},
            "application/x-www-form-urlencoded": form,
            "multipart/form-data": form,
        },
    }


def created_bulk() -> Json:
    """Return the description of the answer to a bulk."""
    answer = created(first_number=5, last_number=9, chat_number=1)
    answer["headers"]["Location"]["description"] = (
        "The list of these messages on crud_service, complete once they are stored."
    )
    return answer


def created(**numbers: int) -> Json:
    """Return the description of the answer 201, with examples of the numbers in it."""
    token = {"type": "string", "pattern": f"^{TOKEN_PATTERN}$"}
    properties = {**dict.fromkeys(numbers, NUMBER), "access_token": token}
    example = {**numbers, "access_token": TOKEN_EXAMPLE}
    return {
        "description": "Created and on disk.",
        "content": {"application/json": {"schema": record(properties), "example": example}},
        "headers": {
            "Location": {
                "description": "Its URL on crud_service, valid once it is stored.",
                "schema": {"type": "string", "format": "uri"},
            },
            "Idempotent-Replayed": {
                "description": "`true` if a request with this Idempotency-Key was answered before.",
                "schema": {"type": "string", "enum": ["true"]},
            },
            "X-Request-ID": REQUEST_ID,
            **RATE_LIMIT_HEADERS,
        },
    }


def responses(success: Json, *problems: type[Problem]) -> dict[int | str, Any]:
    """Return all answers of a creation: its success, these problems, and those that any has."""
    kinds: tuple[type[Problem], ...] = (
        *problems,
        NotFound,
        BodyTooLarge,
        KeyReused,
        RateLimited,
        StoreUnavailable,
    )
    answers: dict[int | str, Any] = {kind.status: problem_response(kind) for kind in kinds}
    return {201: success, **answers}


def problem_response(kind: type[Problem]) -> Json:
    headers = {"X-Request-ID": REQUEST_ID}
    if kind in (StoreUnavailable, RateLimited):
        headers["Retry-After"] = RETRY_AFTER
    if kind is RateLimited:
        headers |= RATE_LIMIT_HEADERS
    return {
        "description": kind.default_detail or f"`{kind.code}` or `validation_failed`.",
        "content": {CONTENT_TYPE: {"schema": PROBLEM}},
        "headers": headers,
    }


def probe_responses(schema: Json | None, *, unavailable: bool) -> dict[int | str, Any]:
    """Return the answers of an endpoint for operators.

    Args:
        schema: that of the answers in JSON; None: they are text.
        unavailable: whether 503 is one of them.
    """
    answer: Json = {"headers": {"X-Request-ID": REQUEST_ID}}
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    answers: dict[int | str, Any] = {200: {**answer, "description": "Answered."}}
    if unavailable:
        description = "The service cannot work without a dependency that is unavailable."
        answers[503] = {**answer, "description": description}
    return answers


async def docs() -> HTMLResponse:
    """Serve an interactive page of the OpenAPI document, without third-party resources."""
    page = files("numbering_service.api").joinpath("docs.html").read_text(encoding="utf-8")
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def static_file(folder: Traversable, name: str) -> Any:
    content = folder.joinpath(name).read_bytes()
    kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    media_type = kinds[name.rpartition(".")[2]]

    async def answer() -> Response:
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(content, media_type=media_type, headers=headers)

    return answer
