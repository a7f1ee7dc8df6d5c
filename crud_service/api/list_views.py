"""List views: complete lists, streamed, and single pages."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from contract.paths import TOKEN_PATTERN
from crud_service.api.api_view import ApiView, field
from crud_service.api.authorization import require_admin_token
from crud_service.api.etags import etag
from crud_service.api.lists import fetch_rows, page_pieces, remaining_chunks
from crud_service.api.long_lists import COMPLETE_LISTS, LONG_PAGES, LongAnswer
from crud_service.api.not_stored_yet import missing_chat
from crud_service.api.pages import NUMBER_CURSOR, Page, Rows, page_headers, requested_page
from crud_service.api.public_urls import public_url
from crud_service.api.responses import json_response
from crud_service.api.writing import create_application
from crud_service.chat.list_queries import APPLICATIONS, CHATS, MESSAGES, Collection
from web.fields import check_name
from web.problems import NotFound


class ApplicationsView(ApiView):
    """`/applications`"""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        require_admin_token(request)
        page = requested_page(request.META, TOKEN_PATTERN)
        rows = fetch_rows(APPLICATIONS, {}, page)
        if rows is None:
            raise NotFound
        return list_response(request, APPLICATIONS, {}, page, rows)

    def post(self, request: HttpRequest) -> HttpResponse:
        require_admin_token(request)
        token, application = create_application(check_name(field(request, "name")))
        location = public_url(request.META, f"/applications/{token}")
        return json_response(application, 201, {"Location": location, "ETag": etag(application)})


class ChatsView(ApiView):
    """`/applications/{access_token}/chats`"""

    def get(self, request: HttpRequest, access_token: str) -> HttpResponseBase:
        owner = {"access_token": access_token}
        page = requested_page(request.META, NUMBER_CURSOR)
        rows = fetch_rows(CHATS, owner, page)
        if rows is None:
            raise NotFound("There is no such application.")
        return list_response(request, CHATS, owner, page, rows)


class MessagesView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages`"""

    def get(self, request: HttpRequest, access_token: str, chat_number: int) -> HttpResponseBase:
        owner = {"access_token": access_token, "chat_number": str(chat_number)}
        page = requested_page(request.META, NUMBER_CURSOR)
        rows = fetch_rows(MESSAGES, owner, page)
        if rows is None:
            raise missing_chat(access_token, chat_number)
        return list_response(request, MESSAGES, owner, page, rows)


def list_response(
    request: HttpRequest,
    collection: Collection,
    owner: Mapping[str, str],
    page: Page | None,
    rows: Rows,
) -> HttpResponseBase:
    """Return a list or a page: in one piece if it is short, else streamed."""
    headers = page_headers(request.META, page, rows)
    if page is None and rows.more:
        places, pieces = COMPLETE_LISTS, remaining_chunks(collection, owner, rows)
    elif page is not None and rows.rest:
        places, pieces = LONG_PAGES, page_pieces(collection, owner, page, rows)
    else:
        return json_response(rows.as_array(), headers=headers)
    answer = LongAnswer(places, owner.get("access_token", ""), pieces)
    return StreamingHttpResponse(answer, content_type="application/json", headers=headers)
