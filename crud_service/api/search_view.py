"""Search within a chat; fields may come in the body or the query string."""

from urllib.parse import urlencode

from rest_framework.request import Request
from rest_framework.response import Response

from crud_service.api.api_view import ApiView
from crud_service.api.not_stored_yet import missing_chat
from crud_service.api.public_urls import public_url
from crud_service.api.serializers import SearchFields
from crud_service.chat.filters import FILTERS
from crud_service.search.query.search import SearchQuery, search_messages
from web.problems import NotFound


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: Request, access_token: str, chat_number: int) -> Response:
        fields = self.validated(SearchFields)
        filters = {name: value for name in FILTERS if (value := fields.pop(name)) is not None}
        query = SearchQuery(**fields, filters=filters)
        try:
            page = search_messages(access_token, chat_number, query)
        except NotFound as problem:
            raise missing_chat(access_token, chat_number) from problem
        headers: dict[str, str] = {"X-Search-Backend": page.backend}
        if page.next_cursor is not None:
            following = urlencode(next_page(query, page.next_cursor))
            url = public_url(request.META.get("HTTP_HOST", ""), request.path.rstrip("/"))
            headers["Link"] = f'<{url}?{following}>; rel="next"'
        return Response(page.items, headers=headers)


def next_page(query: SearchQuery, cursor: str) -> dict[str, object]:
    parameters: dict[str, object] = {"keyword": query.keyword, "limit": query.limit}
    if query.sort != "relevance":
        parameters["sort"] = query.sort
    if query.highlight:
        parameters["highlight"] = "true"
    return {**parameters, **query.filters, "cursor": cursor}
