"""The operations that carry a whole application from one place to another."""

import json

from crud_service.schema.openapi import examples
from crud_service.schema.openapi.components import Json, ref
from crud_service.schema.openapi.operations import APPLICATION, operation
from web.problems import NotFound, StoreUnavailable

EXPORT = (
    "One JSON object per line: the application (`type` is `application`), then each chat (`chat`) "
    "followed by its messages (`message`), all by number, and last "
    '`{"type": "end", "chats": …, "messages": …}` with the numbers of lines of both kinds: an '
    "export without this line was cut short. Behind `type`, each line has what a GET of the "
    "resource answers. Read it into another stack, or into the same, with "
    "`python -m crud_service.manage import_application`. It is streamed and no snapshot: chats "
    "created after it began are not in it, nor are messages created after the line of their chat "
    "was read. A change made meanwhile may or may not be."
)
LINES = [
    {"type": "application", **examples.APPLICATION},
    {"type": "chat", **examples.CHAT},
    {"type": "message", **examples.MESSAGE},
    {"type": "end", "chats": 1, "messages": 1},
]
NDJSON = {"schema": {"type": "string"}, "example": "".join(f"{json.dumps(it)}\n" for it in LINES)}


def export_operation() -> Json:
    """GET of an export."""
    success: Json = {
        "200": {
            "description": "OK",
            "headers": {"X-Request-ID": ref("headers", "X-Request-ID")},
            "content": {"application/x-ndjson": NDJSON},
        }
    }
    return operation(
        "exportApplication",
        "Export an application with its chats and messages",
        "applications",
        parameters=("AccessToken",),
        success=success,
        problems=(NotFound, StoreUnavailable),
        description=EXPORT,
    )


def transfer_paths() -> Json:
    return {f"{APPLICATION}/export": {"get": export_operation()}}
