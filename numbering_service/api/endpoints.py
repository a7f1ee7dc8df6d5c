"""The creations as endpoints of the framework.

The service's own HTTP server bypasses them and calls `creations` directly; they
serve any other ASGI server, and describe the creations in the OpenAPI document.
Parameters are declared for that document: `requests` reads the requests.
"""

from typing import Annotated

from fastapi import FastAPI, Header, Path, Request
from fastapi.responses import Response

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from numbering_service.api.asgi_request import respond
from numbering_service.api.documentation import (
    BULK_BODY,
    CHAT_SCHEMA,
    MESSAGE_SCHEMA,
    TOKEN_EXAMPLE,
    created,
    created_bulk,
    request_body,
    responses,
)
from numbering_service.creations.creating import Creations
from numbering_service.creations.requests import read_target
from numbering_service.running import Service
from web.problems import ChatDeleted, MalformedBody, NotFound, UnsupportedMediaType

# Set in the scope of a request that is logged already and whose answer has all its headers.
IS_COMPLETE = "numbering.is_complete"

AccessToken = Annotated[
    str,
    Path(
        pattern=f"^{TOKEN_PATTERN}$",
        description="Access token of the application.",
        examples=[TOKEN_EXAMPLE],
    ),
]
ChatNumber = Annotated[
    int, Path(ge=1, le=MAX_NUMBER, description="Number of the chat.", examples=[1])
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A request repeated with the same key within 24 hours creates only once.",
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]+$"},
    ),
]
RequestId = Annotated[
    str | None,
    Header(alias="X-Request-ID", description="Used as the id of the request if it is valid."),
]


def add_routes(api: FastAPI) -> None:
    """Add the creations, each with and without a trailing slash."""
    chats = "/applications/{access_token}/chats"
    messages = f"{chats}/{{chat_number}}/messages"
    chat, message = request_body(CHAT_SCHEMA), request_body(MESSAGE_SCHEMA)
    for path, create_one, summary, answer, body in (
        (chats, create_chat, "Create a chat", created(number=1), chat),
        (messages, create_message, "Create a message", created(number=1, chat_number=1), message),
        (f"{messages}/bulk", create_messages, "Create messages", created_bulk(), BULK_BODY),
    ):
        deleted = () if path is chats else (ChatDeleted,)
        for suffix in ("", "/"):
            api.add_api_route(
                path + suffix,
                create_one,
                methods=["POST"],
                status_code=201,
                include_in_schema=not suffix,
                summary=summary,
                tags=["creations"],
                response_class=Response,
                responses=responses(answer, MalformedBody, *deleted, UnsupportedMediaType),
                openapi_extra={"requestBody": body},
            )


async def create_chat(
    request: Request,
    service: Service,
    access_token: AccessToken,
    idempotency_key: IdempotencyKey = None,
    x_request_id: RequestId = None,
) -> Response:
    """Create a chat; its number is the next one of the application, 1, 2, 3… without gaps.

    Answered when the chat is on disk. Messages can be posted to it at once.
    """
    return await create(request, service.creations)


async def create_message(
    request: Request,
    service: Service,
    access_token: AccessToken,
    chat_number: ChatNumber,
    idempotency_key: IdempotencyKey = None,
    x_request_id: RequestId = None,
) -> Response:
    """Create a message; its number is the next one of the chat, 1, 2, 3… without gaps.

    Answered when the message is on disk. A field that is not in the request's body
    is looked for in the query string. The number in `reply_to` must have been assigned before.
    """
    return await create(request, service.creations)


async def create_messages(
    request: Request,
    service: Service,
    access_token: AccessToken,
    chat_number: ChatNumber,
    idempotency_key: IdempotencyKey = None,
    x_request_id: RequestId = None,
) -> Response:
    """Create up to 500 messages of a chat with consecutive numbers: all of them, or none.

    Answered when all of them are on disk. A field that is not valid is named with its position,
    as `messages[3].body`. A rate limit counts each message.
    """
    return await create(request, service.creations)


async def create(request: Request, creations: Creations) -> Response:
    """Answer a creation as the service's own server would."""
    target = read_target(request.scope["path"])
    if target is None:  # the framework's pattern is wider than ours
        raise NotFound
    response = await respond(request, lambda whole: creations.create(whole, target))
    request.scope[IS_COMPLETE] = True
    return response
