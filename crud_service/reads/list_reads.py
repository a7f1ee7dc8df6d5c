"""Lists of messages, read without Django; called in a thread."""

from crud_service.api.lists.list_answers import ListAnswer, answer_list, read_list
from crud_service.api.lists.list_rows import ListOf
from crud_service.api.not_stored_yet import missing_chat
from crud_service.api.public_urls import public_url
from crud_service.chat.list_queries import MESSAGES
from web.server.request import Request


def read_messages(request: Request, access_token: str, chat_number: int) -> ListAnswer:
    """Return the messages that a request asks for; raise the Problem of any other outcome."""
    chat = {"access_token": access_token, "chat_number": str(chat_number)}
    found = read_list(ListOf(MESSAGES, chat), request.query.decode("latin-1"))
    if found is None:
        raise missing_chat(access_token, chat_number)
    host = request.header(b"host") or ""
    return answer_list(found, public_url(host, request.path.rstrip("/")))
