"""`/applications/{access_token}/rotate`"""

from django.http import HttpResponse
from rest_framework.request import Request

from crud_service.api.api_view import ApiView
from crud_service.api.authentication import AdminOrOpen, AdminToken
from crud_service.api.rotation.rotating import idempotency_key, rotate
from crud_service.api.views import tagged


class RotationView(ApiView):
    authentication_classes = [AdminToken]
    permission_classes = [AdminOrOpen]

    def post(self, request: Request, access_token: str) -> HttpResponse:
        rotated = rotate(access_token, idempotency_key(request))
        answer = tagged(rotated.application)
        if rotated.replayed:
            answer["Idempotent-Replayed"] = "true"
        return answer
