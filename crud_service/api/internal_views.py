"""The internal endpoints of `contract.sequences`, used to seed missing sequences."""

import json
import re

from django.http import HttpRequest, HttpResponse

from contract.paths import TOKEN_PATTERN
from contract.sequences import ACCESS_TOKENS, EXISTS, HIGHEST_NUMBER, MAX_ACCESS_TOKENS
from crud_service.api.api_view import ApiView
from crud_service.api.authorization import require_internal_token
from crud_service.api.responses import json_response
from crud_service.chat.highest_numbers import existing_applications, highest_number
from web.problems import NotFound, ValidationFailed


class SequenceView(ApiView):
    """`/internal/sequences/{access_token}` and `…/{chat_number}`"""

    def get(
        self, request: HttpRequest, access_token: str, chat_number: int | None = None
    ) -> HttpResponse:
        require_internal_token(request)
        highest, exists = highest_number(access_token, chat_number)
        if not exists and not highest:
            raise NotFound("There is no such application or chat.")
        return json_response(json.dumps({HIGHEST_NUMBER: highest, EXISTS: exists}).encode())


class ExistingApplicationsView(ApiView):
    """`/internal/applications?access_tokens=…`"""

    def get(self, request: HttpRequest) -> HttpResponse:
        require_internal_token(request)
        tokens = request.GET.get(ACCESS_TOKENS, "").split(",")
        if len(tokens) > MAX_ACCESS_TOKENS or not all(
            re.fullmatch(TOKEN_PATTERN, token, re.ASCII) for token in tokens
        ):
            raise ValidationFailed(ACCESS_TOKENS, "are tokens with commas between them.")
        return json_response(json.dumps({ACCESS_TOKENS: existing_applications(tokens)}).encode())
