"""The calls that several methods make alike."""

import uuid
from collections.abc import Mapping
from typing import Any

from chat_backend_client.lists import AsyncPages
from chat_backend_client.session import Call, Session


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
