"""What the services return and accept, as in `components.schemas` of their OpenAPI documents."""

from typing import Any, Literal, NotRequired, TypedDict

Metadata = dict[str, Any]


class Application(TypedDict):
    name: str
    access_token: str
    created_at: str
    updated_at: str
    chat_count: int


class Message(TypedDict):
    number: int
    body: str
    created_at: str
    updated_at: str
    sender: NotRequired[str]
    metadata: NotRequired[Metadata]
    reply_to: NotRequired[int]
    deleted_at: NotRequired[str]


class FoundMessage(Message):
    """A search result; `highlight` is HTML."""

    highlight: NotRequired[str]


class FollowedMessage(Message):
    """A message as streams send it."""

    chat_number: int


class Chat(TypedDict):
    number: int
    message_count: int
    created_at: str
    updated_at: str
    name: NotRequired[str]
    metadata: NotRequired[Metadata]
    deleted_at: NotRequired[str]


class ListedChat(Chat):
    """A chat in a list; `last_message` with `include="last_message"`, None without messages."""

    last_message: NotRequired[Message | None]


class CreatedChat(TypedDict):
    number: int
    access_token: str


class CreatedMessage(TypedDict):
    number: int
    chat_number: int
    access_token: str


class CreatedMessages(TypedDict):
    first_number: int
    last_number: int
    chat_number: int
    access_token: str


class ExportedApplication(Application):
    type: Literal["application"]


class ExportedChat(Chat):
    type: Literal["chat"]


class ExportedMessage(Message):
    type: Literal["message"]


class ExportEnd(TypedDict):
    """The last line of an export: how many lines of both kinds it has."""

    type: Literal["end"]
    chats: int
    messages: int


ExportLine = ExportedApplication | ExportedChat | ExportedMessage | ExportEnd


class FieldError(TypedDict):
    field: str
    message: str


class ChatAttributes(TypedDict, total=False):
    """Optional fields of a new chat."""

    name: str
    metadata: Metadata


class ChatChanges(TypedDict, total=False):
    """What an update of a chat changes; None removes."""

    name: str | None
    metadata: Metadata | None


class MessageAttributes(TypedDict, total=False):
    """Optional fields of a new message."""

    sender: str
    metadata: Metadata
    reply_to: int


class NewMessage(MessageAttributes):
    body: str


class MessageChanges(TypedDict, total=False):
    """What an update of a message changes; None removes the metadata."""

    body: str
    metadata: Metadata | None


class PageQuery(TypedDict, total=False):
    """Exclusive bounds and order of a list."""

    after: int
    before: int
    order: Literal["asc", "desc"]


class ApplicationQuery(TypedDict, total=False):
    after: str
    before: str
    order: Literal["asc", "desc"]


class ChatQuery(PageQuery, total=False):
    sort: Literal["-last_message"]
    include: Literal["last_message"]


class MessageFilters(TypedDict, total=False):
    """Exclusive bounds in time (RFC 3339, with a zone), and who sent it."""

    created_after: str
    created_before: str
    sender: str


class MessageQuery(PageQuery, MessageFilters):
    pass


class SearchQuery(MessageFilters, total=False):
    sort: Literal["relevance", "number", "-number"]
    highlight: bool
