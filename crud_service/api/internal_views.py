"""The internal endpoints of `contract.sequences`, used to seed missing sequences."""

import logging
import re

from rest_framework.request import Request
from rest_framework.response import Response

from contract.paths import TOKEN_PATTERN
from contract.sequences import (
    ACCESS_TOKENS,
    DELETED,
    EXISTS,
    HIGHEST_NUMBER,
    MAX_ACCESS_TOKENS,
    SHARDS,
)
from crud_service.api.api_view import ApiView
from crud_service.api.authentication import InternalOnly, InternalToken
from crud_service.chat.highest_numbers import existing_applications, highest_number
from crud_service.chat.rotations import is_rotating
from crud_service.stores.database import run
from crud_service.stores.installed_shards import installed
from web.problems import NotFound, StoreUnavailable, ValidationFailed

logger = logging.getLogger(__name__)


class InternalView(ApiView):
    authentication_classes = [InternalToken]
    permission_classes = [InternalOnly]


class SequenceView(InternalView):
    """`/internal/sequences/{access_token}` and `…/{chat_number}`"""

    def get(self, request: Request, access_token: str, chat_number: int | None = None) -> Response:
        self._check_shards(request.query_params.get(SHARDS, "1"))
        # Asked before the number: one that is stored after this is of a rotation that begins later,
        # and then the token is not valid any more.
        if is_rotating(access_token):
            raise StoreUnavailable("Numbers accepted under the former token are not stored yet.")
        highest, exists, deleted = highest_number(access_token, chat_number)
        if not exists and not highest and not deleted:
            raise NotFound("There is no such application or chat.")
        answer = {HIGHEST_NUMBER: highest, EXISTS: exists}
        return Response({**answer, DELETED: True} if deleted else answer)

    def _check_shards(self, size: str) -> None:
        """Raise StoreUnavailable for a caller that names keys for another number of shards."""
        found = run(installed)
        if size != str(found.size) or found.former is not None:
            logger.error("numbering_service has other shards", extra={"shards": found.size})
            raise StoreUnavailable("Sequences are seeded for another number of shards.")


class ExistingApplicationsView(InternalView):
    """`/internal/applications?access_tokens=…`"""

    def get(self, request: Request) -> Response:
        tokens = request.query_params.get(ACCESS_TOKENS, "").split(",")
        if len(tokens) > MAX_ACCESS_TOKENS or not all(
            re.fullmatch(TOKEN_PATTERN, token, re.ASCII) for token in tokens
        ):
            raise ValidationFailed(
                ACCESS_TOKENS, "Must be a comma-separated list of access tokens."
            )
        return Response({ACCESS_TOKENS: existing_applications(tokens)})
