"""The operations on applications, chats and messages, and those of monitoring."""

from collections.abc import Callable

from crud_service.schema.openapi import examples
from crud_service.schema.openapi.operations import (
    APPLICATION,
    CHAT,
    INPUT_PROBLEMS,
    MESSAGE,
    PAGE_PARAMETERS,
    answer,
    deletion,
    fields,
    listing,
    needs_admin_token,
    operation,
    read,
    update,
)
from crud_service.schema.openapi.parameters import search_parameters
from crud_service.schema.openapi.values import ref
from web.openapi import TEXT, Json
from web.problems import ChatDeleted, HeadersTooLarge, NotFound, StoreUnavailable, TooManyStreams

Guard = Callable[[Json], Json]
IN_CHAT = ("AccessToken", "ChatNumber")


def search() -> Json:
    names = (*IN_CHAT, *search_parameters())
    found = {"type": "array", "items": ref("schemas", "FoundMessage")}
    return operation(
        "searchMessages",
        "Search the messages of a chat",
        "messages",
        parameters=names,
        success=answer(found, [examples.MESSAGE], "X-Search-Backend", "Link"),
        problems=(*INPUT_PROBLEMS, NotFound, ChatDeleted, StoreUnavailable),
        description="Matches of whole words come first, then those at the start of a word, then "
        "those inside a word; among equals, the newest first. A page ends before `limit` once its "
        "messages reach 8 MB; `Link` leads to the next one.",
    )


def create_application() -> Json:
    """POST of an application, with links to what can be done with it."""
    token = {"access_token": "$response.body#/access_token"}
    operations = ("readApplication", "updateApplication", "listChats")
    success = answer(
        ref("schemas", "Application"),
        {**examples.APPLICATION, "chat_count": 0},
        "Location",
        "ETag",
        description="Created",
        status=201,
    )
    success["201"]["links"] = {
        name: {"operationId": name, "parameters": token} for name in operations
    }
    return operation(
        "createApplication",
        "Create an application",
        "applications",
        success=success,
        problems=(*INPUT_PROBLEMS, StoreUnavailable),
        requestBody=fields("ApplicationFields", {"name": examples.APPLICATION["name"]}),
    )


def operating() -> Json:
    ok = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    schema = ref("schemas", "Health")
    reason = "PostgreSQL or Redis is unavailable."
    ready = answer(schema, examples.HEALTH) | answer(
        schema, examples.UNAVAILABLE, description=reason, status=503
    )
    metrics = answer(TEXT, "chat_backlog_entries 0.0\n", media_type="text/plain")
    found = {
        "/health/live": ("live", "Liveness check", answer(ok, {"status": "ok"})),
        "/health/ready": ("ready", "Readiness check, with the state of each store", ready),
        "/metrics": ("metrics", "Metrics in the Prometheus text format", metrics),
    }
    return {
        path: {"get": operation(name, summary, "operations", success=success)}
        for path, (name, summary, success) in found.items()
    }


def resource_paths(*, admin_token: bool) -> Json:
    """Return the paths of all resources; `admin_token` if operators' operations need it."""
    guard = needs_admin_token if admin_token else dict
    return application_paths(guard) | chat_paths(guard) | message_paths() | operating()


def application_paths(guard: Guard) -> Json:
    names = ("PageLimit", "AfterToken", "BeforeToken", "Order")
    applications = listing("Application", "List all applications", "applications", *names)
    deleted = deletion(
        "Application",
        "Delete an application",
        "applications",
        "From now on its token is answered 404 by both services. What it had is "
        "erased in the background.",
        "AccessToken",
    )
    renamed = {"name": "Support, renamed"}
    return {
        "/applications": {"get": guard(applications), "post": guard(create_application())},
        APPLICATION: {
            "get": read("Application", "Get an application", "applications", "AccessToken"),
            "put": update(
                "Application", "Rename an application", "applications", renamed, "AccessToken"
            ),
            "delete": guard(deleted),
        },
    }


def chat_paths(guard: Guard) -> Json:
    chats = listing(
        "Chat",
        "List the chats of an application",
        "chats",
        "AccessToken",
        *PAGE_PARAMETERS,
        *("ChatSort", "Include", "ChatCursor"),
        items="ListedChat",
    )
    deleted = deletion(
        "Chat",
        "Delete a chat with all of its messages",
        "chats",
        "From now on it has `deleted_at`, and its messages are answered 410. They are "
        "erased in the background. Deleting it again changes nothing.",
        *IN_CHAT,
    )
    changed = {"name": "Support, renamed", "metadata": examples.METADATA}
    return {
        f"{APPLICATION}/chats": {"get": chats},
        CHAT: {
            "get": read("Chat", "Get a chat", "chats", *IN_CHAT),
            "put": update("Chat", "Name or describe a chat", "chats", changed, *IN_CHAT),
            "delete": guard(deleted),
        },
    }


def message_paths() -> Json:
    names = (*IN_CHAT, "MessageNumber")
    messages = listing(
        "Message",
        "List the messages of a chat",
        "messages",
        *IN_CHAT,
        *PAGE_PARAMETERS,
        *("ChangedAfter", "Wait", "Sender", "CreatedAfter", "CreatedBefore"),
        headers=("X-Last-Change",),
        problems=(TooManyStreams, HeadersTooLarge),
    )
    deleted = deletion(
        "Message",
        "Delete a message",
        "messages",
        "Its text is erased. The message keeps its number and stays in lists, with an "
        "empty `body` and `deleted_at`. Deleting it again changes nothing.",
        *names,
    )
    changed = {"body": "Hello again, Rails!", "metadata": examples.METADATA}
    return {
        f"{CHAT}/messages": {"get": messages},
        f"{CHAT}/messages/search": {"get": search()},
        MESSAGE: {
            "get": read("Message", "Get a message", "messages", *names),
            "put": update("Message", "Edit a message", "messages", changed, *names),
            "delete": deleted,
        },
    }
