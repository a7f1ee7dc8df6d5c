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
from crud_service.api.lists.list_answers import ListAnswer, answer_list, answer_search
from crud_service.api.lists.list_request import ListRequest
from crud_service.api.lists.streamed_body import StreamedBody
from crud_service.api.not_stored_yet import missing_application, missing_chat
from crud_service.api.public_urls import public_url
from crud_service.api.serializers import ApplicationFields, SearchFields
from crud_service.api.writing import create_application
from crud_service.chat.list_queries import APPLICATIONS, CHATS, MESSAGES


class KeysetPagination(BasePagination):
    """Pages by `limit`, `after`, `before`, `order`; without any of them, the complete list.

    A cursor is a key of the list, so a page costs the same wherever it begins.
    """

    def paginate_queryset(  # type: ignore[override]  # a `ListRequest`, and not a queryset
        self, queryset: ListRequest, request: Request, view: APIView | None = None
    ) -> ListAnswer | None:
        """Answer with the page that a request asks for; None if the parent does not exist."""
        query = request.META.get("QUERY_STRING", "").encode("latin-1")
        return answer_list(queryset, query, url_of(request))

    def get_paginated_response(  # type: ignore[override]  # a long list is streamed
        self, data: ListAnswer
    ) -> HttpResponseBase:
        return list_response(data)


def url_of(request: Request) -> str:
    """Return the URL of a request without its query, for links."""
    return public_url(request.META.get("HTTP_HOST", ""), request.path.rstrip("/"))


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
    pagination_class = KeysetPagination

    def get(self, request: Request) -> HttpResponseBase:
        answer = self.paginate_queryset(ListRequest(APPLICATIONS, {}))
        return self.get_paginated_response(answer)

    def post(self, request: Request) -> Response:
        token, application = create_application(self.validated(ApplicationFields)["name"])
        location = public_url(request.META.get("HTTP_HOST", ""), f"/applications/{token}")
        return Response(application, 201, headers={"Location": location, "ETag": etag(application)})


class ChatsView(ApiView):
    """`/applications/{access_token}/chats`"""

    pagination_class = KeysetPagination

    def get(self, request: Request, access_token: str) -> HttpResponseBase:
        answer = self.paginate_queryset(ListRequest(CHATS, {"access_token": access_token}))
        if answer is None:
            raise missing_application(access_token)
        return self.get_paginated_response(answer)


class MessagesView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages`"""

    pagination_class = KeysetPagination

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponseBase:
        chat = {"access_token": access_token, "chat_number": str(chat_number)}
        answer = self.paginate_queryset(ListRequest(MESSAGES, chat))
        if answer is None:
            raise missing_chat(access_token, chat_number)
        return self.get_paginated_response(answer)


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponseBase:
        fields = self.validated(SearchFields)
        answer = answer_search(fields, access_token, chat_number, url_of(request))
        return list_response(answer)
