"""The internal endpoint from which a missing sequence is seeded.

Consumer: `numbering_service.seeding`. Producer: `crud_service.chat.internal_views`.

    GET /internal/sequences/{access_token}                  highest chat number
    GET /internal/sequences/{access_token}/{chat_number}    highest message number
    Authorization: Bearer <INTERNAL_TOKEN>

    200 {"highest_number": 41}     0 when nothing is stored yet
    401                            no token, or a wrong one
    404                            no such application, or no such chat
"""

HIGHEST_NUMBER = "highest_number"


def sequence_path(access_token: str, chat_number: int | None) -> str:
    """Path of the endpoint for an application's chats, or for a chat's messages."""
    path = f"/internal/sequences/{access_token}"
    return path if chat_number is None else f"{path}/{chat_number}"
