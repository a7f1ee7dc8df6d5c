"""What `live` leaves of requests for streams: other methods, mistakes, and what does not exist."""

from typing import NoReturn

from rest_framework.request import Request

from crud_service.api.api_view import ApiView
from crud_service.api.not_stored_yet import is_deleted, missing_application, missing_chat
from crud_service.chat.reading import find_application, find_chat
from crud_service.live.cursor import PARAMETERS, requested_start
from web.fields import parse_urlencoded
from web.problems import StoreUnavailable


class ChatStreamView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/stream`"""

    def get(self, request: Request, access_token: str, chat_number: int) -> NoReturn:
        query = parse_urlencoded(request.META["QUERY_STRING"].encode("latin-1"), PARAMETERS)
        requested_start(request.META.get("HTTP_LAST_EVENT_ID"), query)
        if find_chat(access_token, chat_number) is None or is_deleted(access_token, chat_number):
            raise missing_chat(access_token, chat_number)
        raise not_at_this_moment()


class ApplicationStreamView(ApiView):
    """`/applications/{access_token}/stream`"""

    def get(self, request: Request, access_token: str) -> NoReturn:
        if find_application(access_token) is None:
            raise missing_application(access_token)
        raise not_at_this_moment()


def not_at_this_moment() -> StoreUnavailable:
    """Return the problem of what has been stored since `live` looked for it."""
    return StoreUnavailable("The stream cannot begin at this moment. Try again.")
