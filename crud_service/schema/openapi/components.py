"""The components that operations refer to: schemas, parameters, headers, responses."""

from typing import Any

from rest_framework.serializers import Serializer

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.api.lists.pages import NUMBER_CURSOR
from crud_service.api.lists.requested_rows import (
    ACTIVITY_CURSOR,
    BY_LAST_MESSAGE,
    LAST_MESSAGE,
    MAX_WAIT_SECONDS,
)
from crud_service.api.serializers import (
    ApplicationFields,
    BodyField,
    ChatFields,
    MessageFields,
    MetadataField,
    NameField,
    SearchFields,
    text_schema,
)
from crud_service.schema.openapi import examples
from web.fields import MAX_SENDER_CHARACTERS
from web.problems import (
    CONTENT_TYPE,
    BodyTooLarge,
    ChatDeleted,
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

Json = dict[str, Any]

TEXT = {"type": "string"}
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


def ref(kind: str, name: str) -> Json:
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
        "Problem": problem_schema(),
        "Health": health_schema(),
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


def problem_schema() -> Json:
    return record(
        {
            "type": {**TEXT, "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "instance": {**TEXT, "format": "uri-reference"},
            "code": {**TEXT, "description": "A stable identifier of the kind of error."},
            "request_id": TEXT,
        },
        examples.PROBLEM,
        {"errors": {"type": "array", "items": record({"field": TEXT, "message": TEXT})}},
    )


def health_schema() -> Json:
    states = ["ok", "unavailable", "not_configured"]
    dependency = record(
        {"status": {"type": "string", "enum": states}, "latency_ms": {"type": "number"}}
    )
    status = {"type": "string", "enum": ["ok", "degraded", "unavailable"]}
    names = ("postgresql", "redis", "elasticsearch")
    return record({"status": status, "dependencies": record(dict.fromkeys(names, dependency))})


def parameter(name: str, place: str, schema: Json, description: str, **more: Any) -> Json:
    return {"name": name, "in": place, "schema": schema, "description": description, **more}


def parameters() -> Json:
    path: Json = {"required": True}
    number = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    order = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
    after, before = "Only what follows this {}.", "Only what precedes this {}."
    token = "application, named by its access token"  # noqa: S105 - says what it is
    if_none_match = "Answer 304 if the current state has one of these entity tags."
    if_match = (
        "Change the resource only if its current state has one of these entity tags, else 412."
    )
    unless_match = "Answer 412 if the current state has one of these entity tags; `*` is any state."
    event_id = {"type": "string", "pattern": f"^({NUMBER_CURSOR})[.]({NUMBER_CURSOR})$"}
    last_event_id = "Start behind the event with this id; a browser sends it by itself."
    in_query = "The same, for a client that cannot set the header, which comes first."
    stream_after = "Start behind the message with this number. Without a start: now."
    request_id = "Becomes the request's id if it is 1 to 128 characters of [A-Za-z0-9._:-]."
    return {
        "AccessToken": parameter("access_token", "path", TOKEN, "The application's token.", **path),
        "ChatNumber": parameter("chat_number", "path", NUMBER, "The chat's number.", **path),
        "MessageNumber": parameter(
            "message_number", "path", NUMBER, "The message's number.", **path
        ),
        "Order": parameter("order", "query", order, "Lowest or highest first."),
        "After": parameter("after", "query", number, after.format("number")),
        "Before": parameter("before", "query", number, before.format("number")),
        "AfterToken": parameter("after", "query", TOKEN, after.format(token)),
        "BeforeToken": parameter("before", "query", TOKEN, before.format(token)),
        **list_parameters(),
        **search_parameters(),
        "LastEventId": parameter("Last-Event-ID", "header", event_id, last_event_id),
        "LastEventIdInQuery": parameter("last_event_id", "query", event_id, in_query),
        "StreamAfter": parameter("after", "query", number, stream_after),
        "IfNoneMatch": parameter("If-None-Match", "header", TEXT, if_none_match),
        "IfMatch": parameter("If-Match", "header", TEXT, if_match),
        "UnlessMatch": parameter("If-None-Match", "header", TEXT, unless_match),
        "RequestId": parameter("X-Request-ID", "header", TEXT, request_id),
    }


def list_parameters() -> Json:
    """Return the parameters of lists of messages, or of chats, alone."""
    change = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    seconds = {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0}
    sort = {"type": "string", "enum": [BY_LAST_MESSAGE]}
    include = {"type": "string", "enum": [LAST_MESSAGE]}
    cursor = {"type": "string", "pattern": f"^{ACTIVITY_CURSOR}$"}
    changed_after = (
        "Only messages that changed after this change of the chat, in the order of their changes: "
        "continue with the `X-Last-Change` of the response. Not with `after`, `before`, `order`."
    )
    wait = (
        "If there is no message, wait up to this many seconds for one (long polling). Not with "
        "`before`, `changed_after`, `order=desc`."
    )
    by_last_message = (
        "The chat written to last comes first, chats without messages at the end. The response "
        "is a page, with a `Link` to the next one. Not with `after`, `before`, `order`."
    )
    return {
        "ChangedAfter": parameter("changed_after", "query", change, changed_after),
        "Wait": parameter("wait", "query", seconds, wait),
        "ChatSort": parameter("sort", "query", sort, by_last_message),
        "Include": parameter("include", "query", include, "Adds each chat's last message."),
        "ChatCursor": parameter(
            "cursor", "query", cursor, "Where the page starts: from a `Link`, with its `sort`."
        ),
    }


def search_parameters() -> Json:
    """Return the fields of a search as parameters; `limit` is the one of lists as well."""
    return {
        name.title().replace("_", ""): field_parameter(field)
        for name, field in SearchFields().fields.items()
    }


def field_parameter(field: Any) -> Json:
    schema = {key: value for key, value in field.schema.items() if key != "description"}
    more: Json = {"required": True, "example": "rail"} if field.required else {}
    if not field.required and field.default is not None:
        schema["default"] = field.default
    return parameter(field.field_name, "query", schema, field.schema["description"], **more)


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
