"""The internal endpoints from which missing sequences are seeded.

Consumer: `numbering_service.seeding.lookup`. Producer: `crud_service.api.internal_views`.

    GET /internal/sequences/{access_token}                  highest chat number
    GET /internal/sequences/{access_token}/{chat_number}    highest message number
    GET …?shards=3                                          numbering has more shards than one
    Authorization: Bearer <INTERNAL_TOKEN>

    200 {"highest_number": 41, "exists": true}
    200 {"highest_number": 41, "exists": true, "deleted": true}     the chat was deleted
    200 {"highest_number": 0, "exists": false, "deleted": true}     its application was deleted
    401    no token, or a wrong one
    404    no such application, or no such chat, and no number of it was ever taken
    503    the installation has another number of shards, or numbers that were accepted under a
           former token are not stored yet

A number is taken when it is stored, set aside or in conflict; 0 means that none is.
`exists` is false for numbers whose application does not exist; they count
nevertheless once it does. Of what was deleted no number must be handed out again.

    GET /internal/applications?access_tokens=AAAA…,BBBB…    which of these exist

    200 {"access_tokens": ["AAAA…"]}
"""

from collections.abc import Iterable

HIGHEST_NUMBER = "highest_number"
EXISTS = "exists"
DELETED = "deleted"
SHARDS = "shards"
ACCESS_TOKENS = "access_tokens"

APPLICATIONS_PATH = "/internal/applications"
# This many tokens make a URL of 2.5 KB, which every server and proxy accepts.
MAX_ACCESS_TOKENS = 100


def sequence_path(access_token: str, chat_number: int | None, shards: int = 1) -> str:
    """Return the internal path of a sequence.

    Args:
        access_token: the application.
        chat_number: the chat of the messages; None for the chats of the application.
        shards: the number of shards by which numbering_service names keys.
    """
    path = f"/internal/sequences/{access_token}"
    path = path if chat_number is None else f"{path}/{chat_number}"
    return path if shards == 1 else f"{path}?{SHARDS}={shards}"


def applications_path(access_tokens: Iterable[str]) -> str:
    """Return the internal path that tells which of these access tokens are valid."""
    return f"{APPLICATIONS_PATH}?{ACCESS_TOKENS}={','.join(access_tokens)}"
