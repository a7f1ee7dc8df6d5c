"""Single resources: an application, a chat, a message."""

from django.http import HttpRequest, HttpResponse

from crud_service.api.api_view import ApiView, field, preconditions
from crud_service.api.etags import etag, if_none_match_holds
from crud_service.api.not_stored_yet import missing_chat, missing_message
from crud_service.api.responses import json_response
from crud_service.api.writing import edit_message, rename_application
from crud_service.chat.reading import find_application, find_chat, find_message
from web.fields import check_message_body, check_name
from web.problems import NotFound


class ApplicationView(ApiView):
    """`/applications/{access_token}`"""

    def get(self, request: HttpRequest, access_token: str) -> HttpResponse:
        application = find_application(access_token)
        if application is None:
            raise NotFound("There is no such application.")
        return conditional(request, application)

    def put(self, request: HttpRequest, access_token: str) -> HttpResponse:
        name = check_name(field(request, "name"))
        application = rename_application(access_token, name, preconditions(request))
        if application is None:
            raise NotFound("There is no such application.")
        return tagged(application)


class ChatView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}`"""

    def get(self, request: HttpRequest, access_token: str, chat_number: int) -> HttpResponse:
        chat = find_chat(access_token, chat_number)
        if chat is None:
            raise missing_chat(access_token, chat_number)
        return conditional(request, chat)


class MessageView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/{number}`"""

    def get(
        self, request: HttpRequest, access_token: str, chat_number: int, number: int
    ) -> HttpResponse:
        message = find_message(access_token, chat_number, number)
        if message is None:
            raise missing_message(access_token, chat_number, number)
        return conditional(request, message)

    def put(
        self, request: HttpRequest, access_token: str, chat_number: int, number: int
    ) -> HttpResponse:
        body = check_message_body(field(request, "body"))
        request_id = getattr(request, "request_id", "")
        message = edit_message(
            access_token, chat_number, number, body, preconditions(request), request_id
        )
        if message is None:
            raise missing_message(access_token, chat_number, number)
        return tagged(message)


def conditional(request: HttpRequest, representation: bytes) -> HttpResponse:
    """Return a representation with its entity tag, or 304 if the client already has it."""
    tag = etag(representation)
    if not if_none_match_holds(request.META.get("HTTP_IF_NONE_MATCH"), tag):
        unchanged = HttpResponse(status=304, headers={"ETag": tag})
        del unchanged.headers["Content-Type"]
        return unchanged
    return json_response(representation, headers={"ETag": tag})


def tagged(representation: bytes) -> HttpResponse:
    """Return a representation with its entity tag."""
    return json_response(representation, headers={"ETag": etag(representation)})
