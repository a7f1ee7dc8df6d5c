"""The components that operations refer to: schemas, parameters, headers, responses."""

from typing import Any

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.api.lists.pages import DEFAULT_LIMIT, MAX_LIMIT
from crud_service.schema.openapi import examples
from web.fields import MAX_BODY_BYTES, MAX_KEYWORD_CHARACTERS, MAX_NAME_CHARACTERS
from web.problems import (
    CONTENT_TYPE,
    BodyTooLarge,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PreconditionFailed,
    Problem,
    StoreUnavailable,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)

Json = dict[str, Any]

# At least one non-whitespace character, and no U+0000.
NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
TIME = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "description": "UTC with milliseconds.",
    "examples": [examples.TIME],
}
NUMBER = {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}
COUNT = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
TOKEN = {"type": "string", "pattern": f"^{TOKEN_PATTERN}$", "examples": [examples.TOKEN]}
NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME_CHARACTERS,
    "pattern": NOT_BLANK,
    "description": f"1 to {MAX_NAME_CHARACTERS} characters, not blank.",
    "examples": [examples.APPLICATION["name"]],
}
BODY = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_BODY_BYTES,
    "pattern": NOT_BLANK,
    "description": f"1 to {MAX_BODY_BYTES} bytes of UTF-8, not blank; kept to the letter.",
    "examples": [examples.MESSAGE["body"]],
}
HIGHLIGHT = {
    "type": "string",
    "description": "With `highlight=true` only: the body, HTML-escaped, with `<em>` around hits"
    " as far as the time for one request goes.",
}


def ref(kind: str, name: str) -> Json:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def record(properties: Json, example: Json | None = None, optional: Json | None = None) -> Json:
    """Return the schema of an object without other keys; only `optional` ones may be missing."""
    schema: Json = {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
        "additionalProperties": False,
    }
    return schema | ({"examples": [example]} if example else {})


def schemas() -> Json:
    """Return the schemas of requests and responses."""
    times = {"created_at": TIME, "updated_at": TIME}
    application = {"name": NAME, "access_token": TOKEN, **times, "chat_count": COUNT}
    message = {"number": NUMBER, "body": BODY, **times}
    chat = {"number": NUMBER, "message_count": COUNT, **times}
    return {
        "Application": record(application, examples.APPLICATION),
        "Chat": record(chat, examples.CHAT),
        "Message": record(message, examples.MESSAGE),
        "FoundMessage": record(message, examples.MESSAGE, {"highlight": HIGHLIGHT}),
        "ApplicationFields": {"type": "object", "required": ["name"], "properties": {"name": NAME}},
        "MessageFields": {"type": "object", "required": ["body"], "properties": {"body": BODY}},
        "Problem": problem_schema(),
        "Health": health_schema(),
    }


def problem_schema() -> Json:
    """Return the schema of a problem document."""
    text = {"type": "string"}
    return record(
        {
            "type": {**text, "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": {**text, "format": "uri-reference"},
            "code": {**text, "description": "A stable word for the kind of error."},
            "request_id": text,
        },
        examples.PROBLEM,
        {"errors": {"type": "array", "items": record({"field": text, "message": text})}},
    )


def health_schema() -> Json:
    """Return the schema of /health/ready."""
    states = ["ok", "unavailable", "not_configured"]
    dependency = record(
        {"status": {"type": "string", "enum": states}, "latency_ms": {"type": "number"}}
    )
    status = {"type": "string", "enum": ["ok", "degraded", "unavailable"]}
    names = ("postgresql", "redis", "elasticsearch")
    return record({"status": status, "dependencies": record(dict.fromkeys(names, dependency))})


def parameter(name: str, place: str, schema: Json, description: str, **more: Any) -> Json:
    """Return a parameter in the query, a header or the path."""
    return {"name": name, "in": place, "schema": schema, "description": description, **more}


def parameters() -> Json:
    """Return the parameters that operations share."""
    path: Json = {"required": True}
    cursor = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    after, before = "Only what comes behind this {}.", "Only what comes before this {}."
    token = "application's access token"  # noqa: S105 - says what it is
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    order = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
    keyword = {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEYWORD_CHARACTERS,
        "pattern": NOT_BLANK,
    }
    sort = {"type": "string", "enum": ["relevance", "number", "-number"], "default": "relevance"}
    highlight = {"type": "boolean", "default": False}
    return {
        "AccessToken": parameter("access_token", "path", TOKEN, "Of the application.", **path),
        "ChatNumber": parameter("chat_number", "path", NUMBER, "Of the chat.", **path),
        "MessageNumber": parameter("message_number", "path", NUMBER, "Of the message.", **path),
        "Limit": parameter("limit", "query", limit, "The size of a page."),
        "Order": parameter("order", "query", order, "Lowest or highest first."),
        "After": parameter("after", "query", cursor, after.format("number")),
        "Before": parameter("before", "query", cursor, before.format("number")),
        "AfterToken": parameter("after", "query", TOKEN, after.format(token)),
        "BeforeToken": parameter("before", "query", TOKEN, before.format(token)),
        "Keyword": parameter(
            "keyword",
            "query",
            keyword,
            "Parts divided by white space; a message matches when each occurs in it, inside a "
            "word too, ignoring case, accents and width. No character is special. May be sent in "
            "a body as well.",
            required=True,
            example="rail",
        ),
        "Sort": parameter("sort", "query", sort, "Best match, lowest or highest number first."),
        "Highlight": parameter("highlight", "query", highlight, "Add `highlight` to messages."),
        "Cursor": parameter("cursor", "query", {"type": "string"}, "Where a `next` link goes on."),
        "IfNoneMatch": parameter(
            "If-None-Match", "header", {"type": "string"}, "Tags of states that are known: 304."
        ),
        "IfMatch": parameter(
            "If-Match", "header", {"type": "string"}, "Change this state only, otherwise 412."
        ),
        "UnlessMatch": parameter(
            "If-None-Match",
            "header",
            {"type": "string"},
            "Change none of these states, otherwise 412; `*` names every state.",
        ),
        "RequestId": parameter(
            "X-Request-ID",
            "header",
            {"type": "string"},
            "Taken over as the request's id where it is 1 to 128 of [A-Za-z0-9._:-].",
        ),
    }


def header(description: str, kind: str = "string", example: Any = None) -> Json:
    """Return a response header."""
    optional = {} if example is None else {"example": example}
    return {"description": description, "schema": {"type": kind}, **optional}


def headers() -> Json:
    """Return all response headers."""
    return {
        "ETag": header("The tag of this state.", example='"bda8d5656353ddac6917b33c"'),
        "Link": header("Neighbouring pages (`next`, `prev`).", example=examples.LINK),
        "X-Total-Count": header("How many there are in all.", "integer", 4711),
        "X-Search-Backend": header("`elasticsearch` or `postgresql`.", example="elasticsearch"),
        "Location": header("The address of what was created.", example=examples.LOCATION),
        "X-Request-ID": header("The request's id in our logs.", example="9f87f3c5ecda000001"),
        "Retry-After": header("Seconds to wait before another try.", "integer", 1),
        "Allow": header("The methods of this path.", example="GET, HEAD, PUT"),
        "WWW-Authenticate": header("How to get in.", example="Bearer"),
    }


# The additional headers of each error.
PROBLEMS: dict[type[Problem], tuple[str, ...]] = {
    MalformedBody: (),
    Unauthorized: ("WWW-Authenticate",),
    NotFound: ("Retry-After",),
    MethodNotAllowed: ("Allow",),
    PreconditionFailed: (),
    BodyTooLarge: (),
    UnsupportedMediaType: (),
    ValidationFailed: (),
    StoreUnavailable: ("Retry-After",),
}
DESCRIPTIONS: dict[type[Problem], str] = {
    MalformedBody: "The body or the query string cannot be parsed: `malformed_body`.",
    NotFound: "`not_found`, or `not_stored_yet` (with `Retry-After`) for a number that was "
    "handed out and is being stored.",
    MethodNotAllowed: "A method that this path does not have: `method_not_allowed`.",
    ValidationFailed: "Parsed, but a value will not do; `errors` says which.",
    StoreUnavailable: f"`{StoreUnavailable.code}`, or `{Overloaded.code}`. `detail` says so "
    "where nothing was changed, and where the outcome of a change is not known.",
    PreconditionFailed: f"`{PreconditionFailed.code}`: `If-Match` names an older state, or "
    "`If-None-Match` the current one.",
}


def responses() -> Json:
    """Return the error responses."""
    return {kind.__name__: problem_response(kind, own) for kind, own in PROBLEMS.items()}


def problem_response(kind: type[Problem], own_headers: tuple[str, ...]) -> Json:
    """Return the response for an error."""
    names = ("X-Request-ID", *own_headers)
    return {
        "description": DESCRIPTIONS.get(kind) or f"`{kind.code}`: {kind.default_detail}",
        "headers": {name: ref("headers", name) for name in names},
        "content": {CONTENT_TYPE: {"schema": ref("schemas", "Problem")}},
    }


def components(*, admin_token: bool) -> Json:
    """Return all components."""
    shared = {
        "schemas": schemas(),
        "parameters": parameters(),
        "headers": headers(),
        "responses": responses(),
    }
    if admin_token:
        bearer = {"type": "http", "scheme": "bearer", "description": "ADMIN_TOKEN"}
        shared["securitySchemes"] = {"adminToken": bearer}
    return shared
