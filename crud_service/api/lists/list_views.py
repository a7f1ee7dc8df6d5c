"""Lists and searches, their pagination by REST framework, and the creation of applications."""

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from crud_service.api.api_view import ApiView
from crud_service.api.authentication import AdminOrOpen, AdminToken
from crud_service.api.etags import etag
from crud_service.api.lists.list_answers import (
    FoundList,
    ListAnswer,
    answer_list,
    answer_search,
    read_list,
)
from crud_service.api.lists.list_rows import ListOf
from crud_service.api.lists.streamed_body import StreamedBody
from crud_service.api.not_stored_yet import missing_application, missing_chat
from crud_service.api.public_urls import public_url
from crud_service.api.serializers import ApplicationFields, SearchFields
from crud_service.api.writing import create_application
from crud_service.chat.list_queries import APPLICATIONS, CHATS, MESSAGES


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
        return list_response(answer_list(data, public_url(host, self._request.path.rstrip("/"))))


def list_response(answer: ListAnswer) -> HttpResponseBase:
    """Return an answer as Django's: streamed if it is a long one."""
    headers, body = answer
    if isinstance(body, StreamedBody):
        return StreamingHttpResponse(body, content_type="application/json", headers=headers)
    return Response(body, headers=headers)


class ApplicationsView(ApiView):
    """`/applications`"""

    authentication_classes = [AdminToken]
    permission_classes = [AdminOrOpen]
    pagination_class = Pages

    def get(self, request: Request) -> HttpResponseBase:
        found = self.paginate_queryset(ListOf(APPLICATIONS, {}))
        return self.get_paginated_response(found)

    def post(self, request: Request) -> Response:
        token, application = create_application(self.validated(ApplicationFields)["name"])
        location = public_url(request.META.get("HTTP_HOST", ""), f"/applications/{token}")
        return Response(application, 201, headers={"Location": location, "ETag": etag(application)})


class ChatsView(ApiView):
    """`/applications/{access_token}/chats`"""

    pagination_class = Pages

    def get(self, request: Request, access_token: str) -> HttpResponseBase:
        found = self.paginate_queryset(ListOf(CHATS, {"access_token": access_token}))
        if found is None:
            raise missing_application(access_token)
        return self.get_paginated_response(found)


class MessagesView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages`"""

    pagination_class = Pages

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponseBase:
        chat = {"access_token": access_token, "chat_number": str(chat_number)}
        found = self.paginate_queryset(ListOf(MESSAGES, chat))
        if found is None:
            raise missing_chat(access_token, chat_number)
        return self.get_paginated_response(found)


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponseBase:
        url = public_url(request.META.get("HTTP_HOST", ""), request.path.rstrip("/"))
        fields = self.validated(SearchFields)
        return list_response(answer_search(fields, access_token, chat_number, url))
