"""The parameters of operations."""

from typing import Any

from crud_service.api.lists.list_request import (
    ACTIVITY_CURSOR,
    BY_LAST_MESSAGE,
    DEFAULT_LIMIT,
    LAST_MESSAGE,
    MAX_LIMIT,
    MAX_WAIT_SECONDS,
    NUMBER_CURSOR,
)
from crud_service.api.serializers import SearchFields
from crud_service.schema.openapi.values import COUNT, TOKEN
from web.openapi import NUMBER, TEXT, Json


def parameter(name: str, place: str, schema: Json, description: str, **more: Any) -> Json:
    return {"name": name, "in": place, "schema": schema, "description": description, **more}


def parameters() -> Json:
    """Return all parameters of paths, queries and headers by the names that references use."""
    path: Json = {"required": True}
    order = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
    after, before = "Only what follows this {}.", "Only what precedes this {}."
    token = "application, named by a token that it has or had"  # noqa: S105 - says what it is
    if_none_match = "Answer 304 if the current state has one of these entity tags."
    if_match = (
        "Change the resource only if its current state has one of these entity tags, else 412."
    )
    unless_match = "Answer 412 if the current state has one of these entity tags; `*` is any state."
    event_id = {"type": "string", "pattern": f"^({NUMBER_CURSOR})[.]({NUMBER_CURSOR})$"}
    last_event_id = "Start behind the event with this id; a browser sends it by itself."
    in_query = "The same, for a client that cannot set the header, which comes first."
    stream_after = (
        "Start behind the message with this number, with changes from now on. To miss no change "
        "since a list was read, start behind the id `<highest number>.<X-Last-Change>` instead. "
        "Without a start: now."
    )
    request_id = "Becomes the request's id if it is 1 to 128 characters of [A-Za-z0-9._:-]."
    return {
        "AccessToken": parameter("access_token", "path", TOKEN, "The application's token.", **path),
        "ChatNumber": parameter("chat_number", "path", NUMBER, "The chat's number.", **path),
        "MessageNumber": parameter(
            "message_number", "path", NUMBER, "The message's number.", **path
        ),
        "Order": parameter("order", "query", order, "Lowest or highest first."),
        "After": parameter("after", "query", COUNT, after.format("number")),
        "Before": parameter("before", "query", COUNT, before.format("number")),
        "AfterToken": parameter("after", "query", TOKEN, after.format(token)),
        "BeforeToken": parameter("before", "query", TOKEN, before.format(token)),
        **list_parameters(),
        **search_parameters(),
        "LastEventId": parameter("Last-Event-ID", "header", event_id, last_event_id),
        "LastEventIdInQuery": parameter("last_event_id", "query", event_id, in_query),
        "StreamAfter": parameter("after", "query", COUNT, stream_after),
        "IfNoneMatch": parameter("If-None-Match", "header", TEXT, if_none_match),
        "IfMatch": parameter("If-Match", "header", TEXT, if_match),
        "UnlessMatch": parameter("If-None-Match", "header", TEXT, unless_match),
        "RequestId": parameter("X-Request-ID", "header", TEXT, request_id),
    }


def list_parameters() -> Json:
    """Return the parameters of lists alone, most of them of one kind of list."""
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    seconds = {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0}
    sort = {"type": "string", "enum": [BY_LAST_MESSAGE]}
    include = {"type": "string", "enum": [LAST_MESSAGE]}
    cursor = {"type": "string", "pattern": f"^{ACTIVITY_CURSOR}$"}
    page_limit = f"The maximum size of a page; {DEFAULT_LIMIT} if other parameters ask for a page."
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
        "PageLimit": parameter("limit", "query", limit, page_limit),
        "ChangedAfter": parameter("changed_after", "query", COUNT, changed_after),
        "Wait": parameter("wait", "query", seconds, wait),
        "ChatSort": parameter("sort", "query", sort, by_last_message),
        "Include": parameter("include", "query", include, "Adds each chat's last message."),
        "ChatCursor": parameter(
            "cursor", "query", cursor, "Where the page starts: from a `Link`, with its `sort`."
        ),
    }


def search_parameters() -> Json:
    """Return the fields of a search as parameters."""
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
