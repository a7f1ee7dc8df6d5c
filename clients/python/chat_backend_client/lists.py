"""Lists, read page by page."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

from chat_backend_client.session import Answer, Call, Session

T = TypeVar("T")

NEXT = re.compile(r'<([^>]*)>;\s*rel="next"')


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list; `total` and `last_change` are None where the list does not have them.

    `last_change` is where to continue from with `changes`.
    """

    items: list[T]
    total: int | None
    last_change: int | None
    next_query: dict[str, str] | None

    @classmethod
    def read(cls, answer: Answer) -> "Page[Any]":
        link = NEXT.search(answer.headers.get("Link", ""))
        # Its parameters are enough: it may name an address that is not ours to use.
        following = dict(parse_qsl(urlsplit(link[1]).query)) if link else None
        total, change = (answer.headers.get(name) for name in ("X-Total-Count", "X-Last-Change"))
        return Page(answer.value, total and int(total), change and int(change), following)


class AsyncPages(Generic[T]):
    """A list: iterate over its items, or over its `pages()`; both are read as they are needed."""

    def __init__(self, session: Session, call: Call) -> None:
        self._session, self._call = session, call

    def __aiter__(self) -> AsyncIterator[T]:
        return self.items()

    async def items(self) -> AsyncGenerator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncGenerator[Page[T]]:
        call: Call | None = self._call
        while call:
            page: Page[T] = Page.read(await self._session.send(call))
            yield page
            call = None if page.next_query is None else replace(call, params=page.next_query)
