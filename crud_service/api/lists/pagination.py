"""REST framework's pagination of lists."""

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from crud_service.api.lists.list_answers import FoundList, answer_list, read_list
from crud_service.api.lists.list_rows import ListOf
from crud_service.api.lists.long_lists import LongAnswer
from crud_service.api.public_urls import public_url


class Pages(BasePagination):
    """Pages by `limit`, `after`, `before`, `order`; without any of them, the complete list.

    A cursor is a key of the list, so a page costs the same wherever it begins (keyset
    pagination).
    """

    def paginate_queryset(  # type: ignore[override]  # a `ListOf`, and not a queryset
        self, queryset: ListOf, request: Request, view: APIView | None = None
    ) -> FoundList | None:
        """Read the page that a request asks for; None if the list's parent does not exist."""
        self._request = request
        return read_list(queryset, request.META.get("QUERY_STRING", ""))

    def get_paginated_response(  # type: ignore[override]  # a long list is streamed
        self, data: FoundList
    ) -> HttpResponseBase:
        host = self._request.META.get("HTTP_HOST", "")
        headers, body = answer_list(data, public_url(host, self._request.path.rstrip("/")))
        if isinstance(body, LongAnswer):
            return StreamingHttpResponse(body, content_type="application/json", headers=headers)
        return Response(body, headers=headers)
