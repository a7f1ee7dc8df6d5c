"""Single resources: an application, a chat, a message.

Nearly all of their GETs are answered before they get here, by `crud_service.reads`.
"""

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from crud_service.api.api_view import ApiView, preconditions
from crud_service.api.authentication import AdminToDelete, AdminToken
from crud_service.api.deleting import delete_application, delete_chat, delete_message
from crud_service.api.etags import etag, if_none_match_holds
from crud_service.api.not_stored_yet import missing_application, missing_chat, missing_message
from crud_service.api.renderers import Json
from crud_service.api.serializers import ApplicationFields, ChatFields, MessageFields
from crud_service.api.writing import change_chat, edit_message, rename_application
from crud_service.chat.reading import find_application, find_chat, find_message


class ApplicationView(ApiView):
    """`/applications/{access_token}`"""

    authentication_classes = [AdminToken]
    permission_classes = [AdminToDelete]

    def get(self, request: Request, access_token: str) -> HttpResponse:
        application = find_application(access_token)
        if application is None:
            raise missing_application(access_token)
        return conditional(request, application)

    def put(self, request: Request, access_token: str) -> HttpResponse:
        name = self.validated(ApplicationFields)["name"]
        application = rename_application(access_token, name, preconditions(request))
        if application is None:
            raise missing_application(access_token)
        return tagged(application)

    def delete(self, request: Request, access_token: str) -> Response:
        if not delete_application(access_token, preconditions(request)):
            raise missing_application(access_token)
        return Response(status=202)


class ChatView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}`"""

    authentication_classes = [AdminToken]
    permission_classes = [AdminToDelete]

    def get(self, request: Request, access_token: str, chat_number: int) -> HttpResponse:
        chat = find_chat(access_token, chat_number)
        if chat is None:
            raise missing_chat(access_token, chat_number)
        return conditional(request, chat)

    def put(self, request: Request, access_token: str, chat_number: int) -> HttpResponse:
        changes = self.validated(ChatFields)
        chat = change_chat(access_token, chat_number, changes, preconditions(request))
        if chat is None:
            raise missing_chat(access_token, chat_number)
        return tagged(chat)

    def delete(self, request: Request, access_token: str, chat_number: int) -> Response:
        if not delete_chat(access_token, chat_number, preconditions(request)):
            raise missing_chat(access_token, chat_number)
        return Response(status=204)


class MessageView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/{message_number}`"""

    def get(
        self, request: Request, access_token: str, chat_number: int, message_number: int
    ) -> HttpResponse:
        message = find_message(access_token, chat_number, message_number)
        if message is None:
            raise missing_message(access_token, chat_number, message_number)
        return conditional(request, message)

    def put(
        self, request: Request, access_token: str, chat_number: int, message_number: int
    ) -> HttpResponse:
        changes = self.validated(MessageFields)
        request_id = getattr(request, "request_id", "")
        message = edit_message(
            access_token, chat_number, message_number, changes, preconditions(request), request_id
        )
        if message is None:
            raise missing_message(access_token, chat_number, message_number)
        return tagged(message)

    def delete(
        self, request: Request, access_token: str, chat_number: int, message_number: int
    ) -> Response:
        request_id = getattr(request, "request_id", "")
        if not delete_message(
            access_token, chat_number, message_number, preconditions(request), request_id
        ):
            raise missing_message(access_token, chat_number, message_number)
        return Response(status=204)


def conditional(request: Request, representation: bytes) -> HttpResponse:
    if not if_none_match_holds(request.META.get("HTTP_IF_NONE_MATCH"), etag(representation)):
        return Response(status=304, headers={"ETag": etag(representation)})
    return tagged(representation)


def tagged(representation: bytes) -> HttpResponse:
    """Return an answer with the JSON of one resource and its entity tag.

    PostgreSQL has rendered it: REST framework's Response would have nothing left to do.
    """
    headers = {"Content-Type": Json.media_type, "ETag": etag(representation)}
    return HttpResponse(representation, headers=headers)
