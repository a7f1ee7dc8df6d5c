"""Search within a chat; fields may come in the body or the query string."""

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from crud_service.api.api_view import ApiView
from crud_service.api.lists.list_views import list_response
from crud_service.api.lists.search_answers import answer_search
from crud_service.api.public_urls import public_url
from crud_service.api.serializers import SearchFields


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponseBase:
        url = public_url(request.META.get("HTTP_HOST", ""), request.path.rstrip("/"))
        fields = self.validated(SearchFields)
        return list_response(answer_search(fields, access_token, chat_number, url))
