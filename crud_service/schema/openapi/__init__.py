"""The OpenAPI document, written by hand and checked against the code by tests.

It is built in Python because operations share parameters, headers and errors.
It describes the running service: if ADMIN_TOKEN is set, it says which
operations need it.
"""

from typing import Any

from contract.version import VERSION
from crud_service.schema.openapi.components import components
from crud_service.schema.openapi.resources import resource_paths
from crud_service.schema.openapi.streams import stream_paths
from crud_service.schema.openapi.transfers import transfer_paths
from web.openapi import COMMON_ERRORS

DESCRIPTION = (
    """Applications, numbered chats and numbered messages: reading, updating, searching.
Chats and messages are created by the numbering service.

Every path works with and without a trailing slash. A field is taken from a JSON body, a form
(urlencoded or multipart) or the query string, in this order. Every error is a problem document
(RFC 9457) with a stable `code`; every response has an `X-Request-ID`."""
    + COMMON_ERRORS
)

TAGS = [
    {
        "name": "applications",
        "description": "Client products, each identified by its access token.",
    },
    {"name": "chats", "description": "Chats of an application, numbered 1, 2, 3…"},
    {"name": "messages", "description": "Messages of a chat, numbered 1, 2, 3…, and their search."},
    {"name": "operations", "description": "Health and metrics, for operators."},
]


def openapi_document(*, admin_token: bool) -> dict[str, Any]:
    """Return the document of a service with or without an ADMIN_TOKEN."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chat backend: crud_service",
            "version": VERSION,
            "description": DESCRIPTION,
        },
        "servers": [{"url": "/", "description": "This service"}],
        "tags": TAGS,
        "paths": resource_paths(admin_token=admin_token)
        | stream_paths()
        | transfer_paths(admin_token=admin_token),
        "components": components(admin_token=admin_token),
    }
