"""Search within a chat, with its fields sent in any of the ways that there are."""

from django.http import HttpRequest, HttpResponse

from contract.fields import MISSING
from contract.problems import NotFound
from crud_service.chat.api_view import ApiView, find_fields
from crud_service.chat.not_stored_yet import missing_chat
from crud_service.chat.searching import PARAMETERS, answer_search
from crud_service.responses import json_response


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
