"""The calls that several methods make alike."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from chat_backend_client.lists import AsyncPages
from chat_backend_client.session import Call, Session

IDENTIFIER = re.compile("[A-Za-z0-9]+")


def segment(what: str, identifier: str | int) -> str:
    """Return a token or a number as a segment of a path; raise ValueError for anything else.

    `..` in its place would name what is above: to delete a chat would delete its application.
    """
    if not IDENTIFIER.fullmatch(str(identifier)):
        raise ValueError(f"{what} has to consist of letters and digits")
    return str(identifier)


def creation(url: str, content: object, key: str | None) -> Call:
    """Return the call that creates something: the key is the same in every attempt."""
    headers = {"Idempotency-Key": str(uuid.uuid4()) if key is None else key}
    return Call(method="POST", url=url, json=content, headers=headers)


def listing(
    session: Session,
    url: str,
    query: Mapping[str, object],
    page_size: int,
    headers: Mapping[str, str] | None = None,
) -> AsyncPages[Any]:
    params = {**query, "limit": page_size}
    call = Call(method="GET", url=url, params=params, headers=headers or {}, until_stored=True)
    return AsyncPages(session, call)
