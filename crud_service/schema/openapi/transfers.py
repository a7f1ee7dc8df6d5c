"""The operations on a whole application: its export, and its new access token."""

import json

from crud_service.schema.openapi import examples
from crud_service.schema.openapi.operations import APPLICATION, answer, needs_admin_token, operation
from crud_service.schema.openapi.values import ref
from web.openapi import TEXT, Json
from web.problems import NotFound, StoreUnavailable, ValidationFailed

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
ROTATION = (
    "From the answer on, the former token is 404 on both services, and its streams end; numbers "
    "continue without repeats or gaps. Only a repeat with the same `Idempotency-Key`, within 24 "
    "hours, still gets this answer under the former token. 503 says whether nothing was changed; "
    "where it does not, repeat the request. Idempotency keys of creations do not carry over: one "
    "that was not answered before the rotation has to be looked for before it is sent again."
)
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]+$"},
    "description": "1 to 255 printable ASCII characters, chosen by the client.",
}
REPLAYED = {
    "description": "Only if this is the repeated answer to an earlier request.",
    "schema": {"const": "true"},
}
LINES = "".join(
    f"{json.dumps(line)}\n"
    for line in (
        {"type": "application", **examples.APPLICATION},
        {"type": "chat", **examples.CHAT},
        {"type": "message", **examples.MESSAGE},
        {"type": "end", "chats": 1, "messages": 1},
    )
)


def export_operation() -> Json:
    """GET of an export."""
    return operation(
        "exportApplication",
        "Export an application with its chats and messages",
        "applications",
        parameters=("AccessToken",),
        success=answer(TEXT, LINES, media_type="application/x-ndjson"),
        problems=(NotFound, StoreUnavailable),
        description=EXPORT,
    )


def rotation() -> Json:
    """POST of a rotation."""
    success = answer(ref("schemas", "Application"), examples.APPLICATION, "ETag")
    success["200"]["headers"]["Idempotent-Replayed"] = REPLAYED
    described = operation(
        "rotateToken",
        "Give an application a new access token",
        "applications",
        parameters=("AccessToken",),
        success=success,
        problems=(NotFound, ValidationFailed, StoreUnavailable),
        description=ROTATION,
    )
    described["parameters"].append(IDEMPOTENCY_KEY)
    return described


def transfer_paths(*, admin_token: bool) -> Json:
    """Return the paths of exports and rotations; `admin_token`: whether a rotation needs one."""
    guard = needs_admin_token if admin_token else dict
    return {
        f"{APPLICATION}/export": {"get": export_operation()},
        f"{APPLICATION}/rotate": {"post": guard(rotation())},
    }
