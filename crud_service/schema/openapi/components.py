"""The components that operations refer to: schemas, headers, responses, and the parameters."""

from typing import Any

from rest_framework.serializers import Serializer

from crud_service.api.serializers import (
    ApplicationFields,
    BodyField,
    ChatFields,
    MessageFields,
    MetadataField,
    NameField,
)
from crud_service.schema.openapi import examples
from crud_service.schema.openapi.parameters import parameters
from crud_service.schema.openapi.values import COUNT, TIME, TOKEN, ref
from web.fields import MAX_SENDER_CHARACTERS
from web.openapi import (
    HEALTH_STATUS,
    LATENCY_MS,
    NUMBER,
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
    ChatDeleted,
    HeadersTooLarge,
    MalformedBody,
    MessageDeleted,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PreconditionFailed,
    Problem,
    StoreUnavailable,
    TooManyStreams,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)

NAME = NameField.schema | {"examples": [examples.APPLICATION["name"]]}
BODY = BodyField.schema | {"examples": [examples.MESSAGE["body"]]}
METADATA = MetadataField.schema | {"examples": [examples.METADATA]}
SENDER = text_schema(
    MAX_SENDER_CHARACTERS,
    "Who sent it, as the client that created it said: it is not verified.",
) | {"examples": [examples.SENDER]}
REPLY_TO = NUMBER | {"description": "The number of the message that it replies to."}
HIGHLIGHT = {
    "type": "string",
    "description": "Only with `highlight=true`: the body, HTML-escaped, with `<em>` around each "
    "match. Highlighting stops when the time budget of a request is spent.",
}


def schemas() -> Json:
    times = {"created_at": TIME, "updated_at": TIME}
    application = {"name": NAME, "access_token": TOKEN, **times, "chat_count": COUNT}
    # Empty if the message was deleted.
    text = {name: value for name, value in BODY.items() if name not in {"minLength", "pattern"}}
    message = {"number": NUMBER, "body": text, **times}
    deleted = {"deleted_at": {**TIME, "description": "Only if it was deleted."}}
    message_attributes = {
        "sender": SENDER,
        "metadata": METADATA,
        "reply_to": REPLY_TO,
        **deleted,
    }
    chat = {"number": NUMBER, "message_count": COUNT, **times}
    chat_attributes = {"name": NAME, "metadata": METADATA, **deleted}
    last_message = {
        "description": "Only with `include=last_message`: null if the chat has no message.",
        "anyOf": [ref("schemas", "Message"), {"type": "null"}],
    }
    return {
        "Application": record(application, examples.APPLICATION),
        "Chat": record(chat, examples.CHAT, chat_attributes),
        "ListedChat": record(
            chat, examples.CHAT, {**chat_attributes, "last_message": last_message}
        ),
        "Message": record(message, examples.MESSAGE, message_attributes),
        "FoundMessage": record(
            message, examples.MESSAGE, {**message_attributes, "highlight": HIGHLIGHT}
        ),
        **fields_schemas("ApplicationFields", ApplicationFields),
        **fields_schemas("ChatFields", ChatFields),
        **fields_schemas("MessageFields", MessageFields),
        "Problem": PROBLEM | {"examples": [examples.PROBLEM]},
        "Health": crud_health_schema(),
    }


def fields_schemas(name: str, serializer: type[Serializer[Any]]) -> Json:
    """Return the schema of what a client sends as JSON, and that of a form.

    Unknown fields are ignored. Forms have neither objects nor null.
    """
    fields: Json = dict(serializer().fields)
    in_json = {name: field_schema(field) for name, field in fields.items()}
    in_forms = {
        name: {**field.schema, "examples": [examples.FIELDS[name]]}
        for name, field in fields.items()
        if field.schema["type"] != "object"
    }
    required = [name for name, field in fields.items() if field.required]
    one_of_these = {} if required else {"anyOf": [{"required": [name]} for name in fields]}
    return {
        name: {"type": "object", "required": required, "properties": in_json, **one_of_these},
        f"{name}InForms": {
            "type": "object",
            "required": required or list(in_forms),
            "properties": in_forms,
        },
    }


def field_schema(field: Any) -> Json:
    types = [field.schema["type"], "null"] if field.allow_null else field.schema["type"]
    return {**field.schema, "type": types, "examples": [examples.FIELDS[field.field_name]]}


def crud_health_schema() -> Json:
    states = [*HEALTH_STATUS["enum"], "not_configured"]
    dependency = record(
        {"status": {"type": "string", "enum": states}, "latency_ms": LATENCY_MS},
        optional={"unavailable_shards": UNAVAILABLE_SHARDS},
    )
    names = ("postgresql", "redis", "elasticsearch")
    return health_schema(dependency, *names, optional={"replica": dependency})


def header(description: str, kind: str = "string", example: Any = None) -> Json:
    optional = {} if example is None else {"example": example}
    return {"description": description, "schema": {"type": kind}, **optional}


def headers() -> Json:
    return {
        "ETag": header("The entity tag of this state.", example='"bda8d5656353ddac6917b33c"'),
        "Link": header("The adjacent pages (`next`, `prev`).", example=examples.LINK),
        "X-Total-Count": header("The number of items in the complete list.", "integer", 4711),
        "X-Last-Change": header(
            "The number of the chat's last change; on a page of changes with a next one, the last "
            "change on it. To be continued from with `changed_after`.",
            "integer",
            12,
        ),
        "X-Search-Backend": header("`elasticsearch` or `postgresql`.", example="elasticsearch"),
        "Location": header("The URL of what was created.", example=examples.LOCATION),
        "X-Request-ID": header("The request's id, as in the logs.", example="9f87f3c5ecda000001"),
        "Retry-After": header("Seconds to wait before retrying.", "integer", 1),
        "Allow": header("The methods of this path.", example="GET, HEAD, PUT"),
        "WWW-Authenticate": header("The authentication scheme to use.", example="Bearer"),
    }


# The additional headers of each error.
PROBLEMS: dict[type[Problem], tuple[str, ...]] = {
    MalformedBody: (),
    Unauthorized: ("WWW-Authenticate",),
    NotFound: ("Retry-After",),
    MessageDeleted: (),
    ChatDeleted: (),
    MethodNotAllowed: ("Allow",),
    PreconditionFailed: (),
    BodyTooLarge: (),
    UnsupportedMediaType: (),
    ValidationFailed: (),
    TooManyStreams: ("Retry-After",),
    HeadersTooLarge: (),
    StoreUnavailable: ("Retry-After",),
}
DESCRIPTIONS: dict[type[Problem], str] = {
    MalformedBody: "The body or the query string cannot be parsed: `malformed_body`.",
    NotFound: "`not_found`, or `not_stored_yet` (with `Retry-After`) if the number was handed out "
    "and is still being stored.",
    MethodNotAllowed: "The path does not support this method: `method_not_allowed`.",
    ValidationFailed: "The request was parsed, but a value is missing or not valid: see `errors`.",
    StoreUnavailable: f"`{StoreUnavailable.code}`, or `{Overloaded.code}`. `detail` says whether "
    "nothing was changed, or the outcome of a change is unknown.",
    TooManyStreams: f"`{TooManyStreams.code}`: this application has as many streams and waiting "
    "lists open as it may have.",
    HeadersTooLarge: f"`{HeadersTooLarge.code}`: the headers are too large. With `wait`, headers "
    "and query have less room than without.",
    PreconditionFailed: f"`{PreconditionFailed.code}`: `If-Match` does not match, or "
    "`If-None-Match` does.",
}


def responses() -> Json:
    return {kind.__name__: problem_response(kind, own) for kind, own in PROBLEMS.items()}


def problem_response(kind: type[Problem], own_headers: tuple[str, ...]) -> Json:
    names = ("X-Request-ID", *own_headers)
    return {
        "description": DESCRIPTIONS.get(kind) or f"`{kind.code}`: {kind.default_detail}",
        "headers": {name: ref("headers", name) for name in names},
        "content": {CONTENT_TYPE: {"schema": ref("schemas", "Problem")}},
    }


def components(*, admin_token: bool) -> Json:
    """Return what operations refer to; `admin_token`: whether some of them need one."""
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
