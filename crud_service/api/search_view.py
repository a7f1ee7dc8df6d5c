"""Search within a chat; fields may come in the body or the query string."""

from django.http import HttpRequest, HttpResponse

from crud_service.api.api_view import ApiView, find_fields
from crud_service.api.not_stored_yet import missing_chat
from crud_service.api.responses import json_response
from crud_service.api.searching import PARAMETERS, answer_search
from web.fields import MISSING
from web.problems import NotFound


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: HttpRequest, access_token: str, chat_number: int) -> HttpResponse:
        fields = find_fields(request, PARAMETERS)
        sent = {name: value for name, value in fields.items() if value is not MISSING}
        try:
            items, headers = answer_search(request.META, access_token, chat_number, sent)
        except NotFound as problem:
            raise missing_chat(access_token, chat_number) from problem
        return json_response(items, headers=headers)
