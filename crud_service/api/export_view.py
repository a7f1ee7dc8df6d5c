"""`/applications/{access_token}/export`"""

from django.http import StreamingHttpResponse
from rest_framework.request import Request

from crud_service.api.api_view import ApiView
from crud_service.api.lists.streamed_body import COMPLETE_LISTS, StreamedBody
from crud_service.api.not_stored_yet import missing_application
from crud_service.transfer.export import export_application
from web.problems import NotFound

NDJSON = "application/x-ndjson"


class ExportView(ApiView):
    def get(self, request: Request, access_token: str) -> StreamingHttpResponse:
        pieces = export_application(access_token)
        if pieces is None:
            raise missing_application(access_token)
        try:
            answer = StreamedBody(COMPLETE_LISTS, access_token, pieces)
        except NotFound as problem:  # it has disappeared before anything is sent
            raise missing_application(access_token) from problem
        return StreamingHttpResponse(answer, content_type=NDJSON)
