"""What operations are made of: their parameters, bodies and responses."""

from typing import Any

from crud_service.schema.openapi import examples
from crud_service.schema.openapi.values import ref
from web.openapi import Json
from web.problems import (
    BodyTooLarge,
    ChatDeleted,
    MalformedBody,
    MessageDeleted,
    NotFound,
    PreconditionFailed,
    Problem,
    StoreUnavailable,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)

APPLICATION = "/applications/{access_token}"
CHAT = f"{APPLICATION}/chats/{{chat_number}}"
MESSAGE = f"{CHAT}/messages/{{message_number}}"

PAGE_PARAMETERS = ("PageLimit", "After", "Before", "Order")
INPUT_PROBLEMS: tuple[type[Problem], ...] = (
    MalformedBody,
    BodyTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
PAGES = (
    "Without parameters, the complete list, streamed. With `limit`, `after`, `before` or `order`, "
    "a page, adjacent to `after` or `before`, with a `Link` to the pages next to it."
)
READING = {
    "applications": examples.APPLICATION,
    "chats": examples.CHAT,
    "messages": examples.MESSAGE,
}


def operation(
    operation_id: str,
    summary: str,
    tag: str,
    *,
    parameters: tuple[str, ...] = (),
    success: Json,
    problems: tuple[type[Problem], ...] = (),
    description: str = "",
    **more: Any,
) -> Json:
    """Return an operation; each takes a request id.

    Args:
        operation_id: a name for it that is used once.
        summary: one line.
        tag: the group in which the page shows it.
        parameters: names of components.
        success: its responses other than problems, by status.
        problems: those that it may answer.
        description: what does not fit into the summary, in Markdown.
        more: further members, such as `requestBody`.
    """
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": [tag],
        "parameters": [ref("parameters", name) for name in (*parameters, "RequestId")],
        "responses": {
            **success,
            **{str(kind.status): ref("responses", kind.__name__) for kind in problems},
        },
        **more,
    }


def answer(
    schema: Json,
    example: Any,
    *headers: str,
    description: str = "OK",
    status: int = 200,
    media_type: str = "application/json",
) -> Json:
    """Return a success response.

    Args:
        schema: that of the body.
        example: a body.
        headers: names of components; each response has a request id besides.
        description: one line.
        status: the HTTP status.
        media_type: that of the body.
    """
    header_refs = {name: ref("headers", name) for name in (*headers, "X-Request-ID")}
    content = {media_type: {"schema": schema, "example": example}}
    return {str(status): {"description": description, "headers": header_refs, "content": content}}


def not_modified() -> Json:
    header_refs = {name: ref("headers", name) for name in ("ETag", "X-Request-ID")}
    return {
        "304": {"description": "The client already has the current state.", "headers": header_refs}
    }


def fields(schema: str, example: Json) -> Json:
    """Return a request body, in each of the accepted media types."""
    form = {name: value for name, value in example.items() if isinstance(value, str)}
    content = {
        "application/json": {"schema": ref("schemas", schema), "example": example},
        **{
            name: {"schema": ref("schemas", f"{schema}InForms"), "example": form}
            for name in ("application/x-www-form-urlencoded", "multipart/form-data")
        },
    }
    return {
        "required": True,
        "content": content,
        "description": "A field that is missing in the body is taken from the query string. A JSON "
        "object is also accepted as text/plain.",
    }


def read(schema: str, summary: str, tag: str, *parameters: str) -> Json:
    """Describe GET of a single resource.

    Args:
        schema: the component that describes the resource.
        summary: one line.
        tag: the group in which the page shows it.
        parameters: names of components, those of the path.
    """
    return operation(
        f"read{schema}",
        summary,
        tag,
        parameters=(*parameters, "IfNoneMatch"),
        success={**answer(ref("schemas", schema), READING[tag], "ETag"), **not_modified()},
        problems=(NotFound, *chat_deleted(schema), StoreUnavailable),
    )


def chat_deleted(schema: str) -> tuple[type[Problem], ...]:
    """Return the problem of messages whose chat was deleted."""
    return (ChatDeleted,) if schema == "Message" else ()


def changed_too_late(schema: str) -> tuple[type[Problem], ...]:
    """Return the problems of changes of what was deleted."""
    return {"Message": (MessageDeleted, ChatDeleted), "Chat": (ChatDeleted,)}.get(schema, ())


def update(schema: str, summary: str, tag: str, example: Json, *parameters: str) -> Json:
    """Describe PUT of a single resource.

    Args:
        schema: the component that describes the resource.
        summary: one line.
        tag: the group in which the page shows it.
        example: the fields of a request.
        parameters: names of components, those of the path.
    """
    return operation(
        f"update{schema}",
        summary,
        tag,
        parameters=(*parameters, "IfMatch", "UnlessMatch"),
        success=answer(ref("schemas", schema), {**READING[tag], **example}, "ETag"),
        problems=(
            *INPUT_PROBLEMS,
            NotFound,
            *changed_too_late(schema),
            PreconditionFailed,
            StoreUnavailable,
        ),
        description="Sending the current state changes nothing, `updated_at` included."
        + ("" if tag == "applications" else " Fields that are not sent stay; null removes one."),
        requestBody=fields(f"{schema}Fields", example),
    )


def deletion(schema: str, summary: str, tag: str, description: str, *parameters: str) -> Json:
    """Describe DELETE of a single resource: 202 where it goes on in the background, else 204.

    Args:
        schema: the component that describes the resource.
        summary: one line.
        tag: the group in which the page shows it.
        description: what does not fit into the summary, in Markdown.
        parameters: names of components, those of the path.
    """
    status = "202" if schema == "Application" else "204"
    head = {"X-Request-ID": ref("headers", "X-Request-ID")}
    return operation(
        f"delete{schema}",
        summary,
        tag,
        parameters=(*parameters, "IfMatch", "UnlessMatch"),
        success={status: {"description": "Deleted.", "headers": head}},
        problems=(NotFound, *chat_deleted(schema), PreconditionFailed, StoreUnavailable),
        description=description,
    )


def listing(
    schema: str,
    summary: str,
    tag: str,
    *parameters: str,
    items: str = "",
    headers: tuple[str, ...] = (),
    problems: tuple[type[Problem], ...] = (),
) -> Json:
    """Describe GET of a list.

    Args:
        schema: the component that describes a resource.
        summary: one line.
        tag: the group in which the page shows it.
        parameters: names of components.
        items: the component that describes an item, if that is more than the resource.
        headers: names of components, besides those of every list.
        problems: those that it may answer, besides those of every list.
    """
    schema_of_list = {"type": "array", "items": ref("schemas", items or schema)}
    missing: tuple[type[Problem], ...] = (NotFound,) if tag != "applications" else ()
    return operation(
        f"list{schema}s",
        summary,
        tag,
        parameters=parameters,
        success=answer(schema_of_list, [READING[tag]], "X-Total-Count", *headers, "Link"),
        problems=(
            MalformedBody,
            *missing,
            *chat_deleted(schema),
            ValidationFailed,
            StoreUnavailable,
            *problems,
        ),
        description=PAGES,
    )


def needs_admin_token(described: Json) -> Json:
    """Return an operation with the admin token that it needs, and 401 among its answers."""
    problem = {str(Unauthorized.status): ref("responses", Unauthorized.__name__)}
    responses = {**described["responses"], **problem}
    return {**described, "responses": responses, "security": [{"adminToken": []}]}
