"""Access tokens: how a new one is made."""

from django.utils.crypto import get_random_string

TOKEN_LENGTH = 24


def new_access_token() -> str:
    """Return an unguessable token: 24 letters and digits, 142 bits."""
    return get_random_string(TOKEN_LENGTH)
