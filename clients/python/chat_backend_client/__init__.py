"""Client of the chat backend: `Client` blocks, `AsyncClient` runs on asyncio or Trio."""

from chat_backend_client.async_client import AsyncApplicationClient, AsyncChatClient, AsyncClient
from chat_backend_client.client import ApplicationClient, ChatClient, Client, Pages
from chat_backend_client.errors import ChatBackendError, NoAnswer, Problem, StreamReset
from chat_backend_client.events import ChatChanged, MessageEvent, Ready
from chat_backend_client.lists import AsyncPages, Page
from chat_backend_client.resources import (
    Application,
    Chat,
    CreatedChat,
    CreatedMessage,
    CreatedMessages,
    ExportedApplication,
    ExportedChat,
    ExportedMessage,
    ExportEnd,
    ExportLine,
    FieldError,
    FollowedMessage,
    FoundMessage,
    ListedChat,
    Message,
    NewMessage,
)
from chat_backend_client.retries import Retries
from chat_backend_client.session import Versioned

__version__ = "1.0.0"

__all__ = [
    "Application",
    "ApplicationClient",
    "AsyncApplicationClient",
    "AsyncChatClient",
    "AsyncClient",
    "AsyncPages",
    "Chat",
    "ChatBackendError",
    "ChatChanged",
    "ChatClient",
    "Client",
    "CreatedChat",
    "CreatedMessage",
    "CreatedMessages",
    "ExportEnd",
    "ExportLine",
    "ExportedApplication",
    "ExportedChat",
    "ExportedMessage",
    "FieldError",
    "FollowedMessage",
    "FoundMessage",
    "ListedChat",
    "Message",
    "MessageEvent",
    "NewMessage",
    "NoAnswer",
    "Page",
    "Pages",
    "Problem",
    "Ready",
    "Retries",
    "StreamReset",
    "Versioned",
]
