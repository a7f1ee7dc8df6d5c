"""The internal endpoint of `contract.sequences`, from which a missing sequence is seeded."""

from django.http import HttpRequest, HttpResponse

from contract.problems import NotFound
from contract.sequences import HIGHEST_NUMBER
from crud_service.authorization import require_internal_token
from crud_service.chat.api_view import ApiView
from crud_service.chat.highest_numbers import highest_number
from crud_service.responses import json_response


class SequenceView(ApiView):
    """`/internal/sequences/{access_token}` and `…/{chat_number}`"""

    def get(
        self, request: HttpRequest, access_token: str, chat_number: int | None = None
    ) -> HttpResponse:
        require_internal_token(request)
        highest = highest_number(access_token, chat_number)
        if highest is None:
            raise NotFound("There is no such application or chat.")
        return json_response(b'{"%s":%d}' % (HIGHEST_NUMBER.encode(), highest))
