"""What streams yield."""

import json
from dataclasses import dataclass
from typing import Literal, cast, get_args

from chat_backend_client.event_stream import Event
from chat_backend_client.resources import FollowedMessage

MessageEventType = Literal["message.created", "message.updated", "message.deleted"]


@dataclass(frozen=True)
class MessageEvent:
    """A message was created, updated or deleted; `id` is where to resume after it."""

    type: MessageEventType
    id: str
    message: FollowedMessage


@dataclass(frozen=True)
class Ready:
    """Changes of chats are announced from here on: read the list of chats now."""


@dataclass(frozen=True)
class ChatChanged:
    """A chat has changed; these are its highest message number and its last change."""

    chat_number: int
    highest_number: int
    highest_change: int


def message_event(event: Event) -> MessageEvent | None:
    """Return what an event of a chat says; None for one to be ignored."""
    if event.name not in get_args(MessageEventType):
        return None
    message = cast(FollowedMessage, json.loads("\n".join(event.data)))
    return MessageEvent(cast(MessageEventType, event.name), event.id, message)


def application_event(event: Event) -> Ready | ChatChanged | None:
    """Return what an event of an application says; None for one to be ignored."""
    if event.name == "ready":
        return Ready()
    if event.name != "chat.changed":
        return None
    state = json.loads("\n".join(event.data))
    return ChatChanged(state["chat_number"], state["highest_number"], state["highest_change"])
