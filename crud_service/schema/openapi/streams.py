"""The operations that stream events."""

from crud_service.schema.openapi import examples
from crud_service.schema.openapi.operations import APPLICATION, CHAT, answer, operation
from web.openapi import TEXT, Json
from web.problems import (
    ChatDeleted,
    MalformedBody,
    NotFound,
    StoreUnavailable,
    TooManyStreams,
    ValidationFailed,
)

MESSAGE_EVENTS = (
    "The first event is `ready`. `message.created` follows for every new message, in ascending "
    "order of numbers without gaps, `message.updated` for changes of older ones and "
    "`message.deleted` for their deletions. "
    "A message that was deleted before it is sent is created as it is now. "
    "`data` is the message as JSON, with its `chat_number`. The `id` of an event is "
    "`<number>.<change>`: a client that connects again with it as `Last-Event-ID`, as a browser's "
    "`EventSource` does by itself, gets everything after it, however long ago that was. A cursor "
    "ahead of what is stored is answered with `reset`: read the list again. A comment line comes "
    "every 15 seconds, and after about 10 minutes the stream ends: connect again."
)
APPLICATION_EVENTS = (
    "The first event is `ready`: now read the list of chats (`sort=-last_message`). Then "
    "`chat.changed` carries the current state of each chat that has changed: "
    '`{"chat_number", "highest_number", "highest_change"}`. Events are not replayed, '
    "`Last-Event-ID` is ignored, and another `ready` may come at any time: it means that the list "
    "has to be read again."
)


UNAVAILABLE = (
    " A request with `Accept: text/event-stream`, as an `EventSource` sends it, is answered by a "
    "stream that ends at once where others are answered 503 because a store is unavailable, or "
    "404 `not_stored_yet`: an `EventSource` then connects again, and would give up otherwise."
)


def stream(operation_id: str, summary: str, tag: str, description: str, *names: str) -> Json:
    """GET of a stream of events."""
    malformed = (MalformedBody, ValidationFailed, ChatDeleted) if len(names) > 1 else ()
    problems = (*malformed, NotFound, TooManyStreams, StoreUnavailable)
    return operation(
        operation_id,
        summary,
        tag,
        parameters=names,
        success=answer(TEXT, examples.EVENTS, media_type="text/event-stream"),
        problems=problems,
        description=description + UNAVAILABLE,
    )


def stream_paths() -> Json:
    """Return the paths of streams."""
    names = ("AccessToken", "ChatNumber", "LastEventId", "LastEventIdInQuery", "StreamAfter")
    messages, chats = "Follow the messages of a chat", "Follow the chats of an application"
    of_chat = stream("followMessages", messages, "messages", MESSAGE_EVENTS, *names)
    of_application = stream("followChats", chats, "chats", APPLICATION_EVENTS, "AccessToken")
    return {
        f"{CHAT}/messages/stream": {"get": of_chat},
        f"{APPLICATION}/stream": {"get": of_application},
    }
