"""Access tokens: how a new one is made."""

import secrets
import string

ALPHABET = string.ascii_letters + string.digits
TOKEN_LENGTH = 24


def new_access_token() -> str:
    """Return an unguessable token: 24 characters, 142 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(TOKEN_LENGTH))
