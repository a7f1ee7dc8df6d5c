"""Cursors: where the next page of a search begins, signed so that clients cannot forge them."""

import base64
import hashlib
import hmac
import struct
from collections.abc import Sequence

from django.conf import settings

from crud_service.chat.filters import Filters
from crud_service.search.query.plan import Hit
from crud_service.search.text.folding import Part
from web.problems import ValidationFailed

_POSITION = struct.Struct(">Hq")
_SIGNATURE_BYTES = 8


def encode_cursor(hit: Hit, scope: bytes) -> str:
    """Return the cursor that continues after a hit, valid in one scope."""
    position = _POSITION.pack(hit.rank, hit.number)
    return base64.urlsafe_b64encode(position + sign(position, scope)).decode()


def decode_cursor(cursor: str, scope: bytes) -> Hit:
    """Return the hit after which a cursor continues.

    Raises ValidationFailed (422) for a cursor that was not issued for this scope.
    """
    try:
        data = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        position = data[: _POSITION.size]
        if hmac.compare_digest(data[_POSITION.size :], sign(position, scope)):
            return Hit(*_POSITION.unpack(position))
    except ValueError:
        pass
    raise ValidationFailed("cursor", "Must be a cursor from a page of the same search.")


def search_scope(chat_id: int, parts: Sequence[Part], sort: str, filters: Filters) -> bytes:
    """Return what a cursor is bound to.

    Args:
        chat_id: the chat.
        parts: those of the keyword.
        sort: the order of the hits.
        filters: values by name.
    """
    forms = (reading.inside for part in parts for reading in part.readings)
    limits = (f"\0{name}={value}" for name, value in sorted(filters.items()))
    return "\n".join([str(chat_id), sort, *forms, *limits]).encode()


def sign(position: bytes, scope: bytes) -> bytes:
    key = b"search cursor" + settings.SECRET_KEY.encode()
    return hmac.digest(key, position + scope, hashlib.sha256)[:_SIGNATURE_BYTES]
