"""Lists of messages, and searches, read without Django; called in a thread."""

from rest_framework.exceptions import ValidationError

from crud_service.api.api_view import valid_fields
from crud_service.api.lists.list_answers import ListAnswer, answer_list, answer_search
from crud_service.api.lists.list_request import ListRequest
from crud_service.api.not_stored_yet import missing_chat
from crud_service.api.public_urls import public_url
from crud_service.api.responses import validation_failed
from crud_service.api.serializers import SearchFields
from crud_service.chat.list_queries import MESSAGES
from web.server.request import Request


def read_messages(request: Request, access_token: str, chat_number: int) -> ListAnswer:
    """Return the messages that a request asks for; raise the Problem of any other outcome."""
    chat = {"access_token": access_token, "chat_number": str(chat_number)}
    answer = answer_list(ListRequest(MESSAGES, chat), request.query, url_of(request))
    if answer is None:
        raise missing_chat(access_token, chat_number)
    return answer


def read_search(request: Request, access_token: str, chat_number: int) -> ListAnswer:
    """Return the messages that a search without a body finds; raise any other outcome's Problem."""
    try:
        fields = valid_fields(SearchFields, {}, request.query)
    except ValidationError as error:
        raise validation_failed(error) from error
    return answer_search(fields, access_token, chat_number, url_of(request))


def url_of(request: Request) -> str:
    """Return the URL of a request without its query, for links."""
    return public_url(request.header(b"host") or "", request.path.rstrip("/"))
