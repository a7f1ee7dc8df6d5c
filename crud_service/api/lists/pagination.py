"""Lists as answers: complete ones, streamed, and single pages with links to their neighbours."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from contract.paths import TOKEN_PATTERN
from crud_service.api.lists.list_rows import fetch_rows, page_pieces, remaining_chunks
from crud_service.api.lists.long_lists import COMPLETE_LISTS, LONG_PAGES, LongAnswer, Places
from crud_service.api.lists.pages import NUMBER_CURSOR, Page, Rows, links, requested_page
from crud_service.api.public_urls import public_url
from crud_service.chat.list_queries import Collection


class ListOf(NamedTuple):
    """What to list, and the parameters that name its parent."""

    collection: Collection
    owner: Mapping[str, str]


class NumberPages(BasePagination):
    """Pages by `limit`, `after`, `before`, `order`; without any of them, the complete list.

    A cursor is a key of the list, so a page costs the same wherever it begins (keyset
    pagination).
    """

    cursor_pattern: ClassVar[str] = NUMBER_CURSOR
    _requested: Page | None
    _list: ListOf

    def paginate_queryset(  # type: ignore[override]  # a `ListOf`, and not a queryset
        self, queryset: ListOf, request: Request, view: APIView | None = None
    ) -> Rows | None:
        """Fetch the page, or the first chunk of the complete list; None without its parent.

        Raises ValidationFailed (422) for bad parameters.
        """
        self._request, self._list = request, queryset
        self._requested = requested_page(request.META, self.cursor_pattern)
        return fetch_rows(queryset.collection, queryset.owner, self._requested)

    def get_paginated_response(self, data: Rows) -> HttpResponseBase:  # type: ignore[override]
        """Answer with the rows: in one piece if they are short, else streamed."""
        headers = self._headers(data)
        collection, owner = self._list
        if self._requested is None and data.more:
            chunks = remaining_chunks(collection, owner, data)
            return self._streamed(COMPLETE_LISTS, chunks, headers)
        if self._requested is not None and data.rest:
            pieces = page_pieces(collection, owner, self._requested, data)
            return self._streamed(LONG_PAGES, pieces, headers)
        return Response(data.as_array(), headers=headers)

    def _headers(self, rows: Rows) -> dict[str, str]:
        headers = {"X-Total-Count": str(rows.total)}
        if self._requested is not None and (rows.fewer or rows.more):
            url = public_url(self._request.META, self._request.path.rstrip("/"))
            headers["Link"] = links(url, self._requested, rows)
        return headers

    def _streamed(
        self, places: Places, pieces: Iterator[bytes], headers: dict[str, Any]
    ) -> StreamingHttpResponse:
        answer = LongAnswer(places, self._list.owner.get("access_token", ""), pieces)
        return StreamingHttpResponse(answer, content_type="application/json", headers=headers)


class TokenPages(NumberPages):
    """The same with access tokens as cursors."""

    cursor_pattern = TOKEN_PATTERN
