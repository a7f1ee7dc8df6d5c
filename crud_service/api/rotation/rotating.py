"""Rotation of an access token: the application gets a new one, once for each idempotency key.

`chat.rotations` has the steps that follow the commit, and says why no number is repeated.
"""

from typing import NamedTuple

from redis import RedisError
from rest_framework.request import Request

from contract.changed_chats import WHOLE_APPLICATION
from crud_service.api.not_stored_yet import missing_application
from crud_service.api.writing import NEXT_MOMENT
from crud_service.chat.access_tokens import new_access_token
from crud_service.chat.announcements import announce
from crud_service.chat.own_limits import copy_limit
from crud_service.chat.reading import APPLICATION, APPLICATION_JSON
from crud_service.chat.rotations import finish_within, wait_until_stored
from crud_service.limited_places import Places
from crud_service.stores.database import Connection, fetch_before_change, run
from crud_service.stores.transactions import TRANSACTION, Written, change
from web.fields import check_idempotency_key
from web.problems import StoreUnavailable, ValidationFailed

# How long a rotation waits for the backlog before it changes anything, and afterwards.
PATIENCE_SECONDS = 3.0
# A rotation holds a thread while it waits: others need the rest of them. One application, whose
# clients may repeat a rotation as often as they like, leaves a place to others.
CONCURRENT, OF_ONE_APPLICATION = 3, 2
REPEATED_WITHIN = "24 hours"
# How many former tokens of an application are known, and how many of those beyond them a rotation
# forgets. Each costs its seedings a lookup, and its deletion a write.
KEPT, FORGOTTEN_AT_ONCE = 1000, 1000

_places = Places(
    CONCURRENT, OF_ONE_APPLICATION, "Too many tokens are being rotated. Try again later."
)

FIND = f"""
SELECT r.id, r.idempotency_key::text, r.answer::text,
    r.rotated_at > now() - interval '{REPEATED_WITHIN}'
FROM rotations r JOIN applications a ON a.id = r.application_id AND a.deleted_at IS NULL
WHERE r.former_token = %s
"""
ROTATE = f"""
WITH x AS (
    UPDATE applications x SET access_token = %s, updated_at = {NEXT_MOMENT}
    WHERE access_token = %s RETURNING *
), forgotten AS (
    DELETE FROM rotations r USING (
        SELECT former.id FROM x CROSS JOIN LATERAL (
            SELECT id, former_token, finished FROM rotations
            WHERE application_id = x.id ORDER BY id DESC OFFSET {KEPT - 1}
        ) former
        WHERE former.finished
            AND NOT EXISTS (
                SELECT FROM set_aside_entries s WHERE s.access_token = former.former_token)
            AND NOT EXISTS (SELECT FROM conflicts c WHERE c.access_token = former.former_token)
        LIMIT {FORGOTTEN_AT_ONCE}
    ) old WHERE r.id = old.id
)
INSERT INTO rotations (application_id, former_token, idempotency_key, answer)
SELECT x.id, %s, %s, {APPLICATION_JSON} FROM x
RETURNING id, answer::text, {TRANSACTION}
"""
NOT_FINISHED = (
    "The token was changed, but it is not known to all parts yet. Repeat the request with the same "
    "Idempotency-Key to get the new one."
)


class Rotated(NamedTuple):
    """The application with its new token, as JSON; `replayed` if this was answered before."""

    application: bytes
    replayed: bool


class Done(NamedTuple):
    """A row of `rotations`."""

    id: int
    application: bytes


def idempotency_key(request: Request) -> str:
    """Return the request's idempotency key; raise ValidationFailed without a valid one."""
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        raise ValidationFailed("Idempotency-Key", "Is required.")
    return check_idempotency_key(key.encode("latin-1"))


def rotate(access_token: str, key: str, patience_seconds: float = PATIENCE_SECONDS) -> Rotated:
    """Give an application a new access token; a repeat with the same key gets the same answer.

    Args:
        access_token: the current token, or the former one for a repeat.
        key: the idempotency key, 1 to 255 printable ASCII characters.
        patience_seconds: how long to wait for the backlog before anything is changed, and for
            the last entries of the former token afterwards.

    Returns:
        The application with its new token. Raises NotFound for a token that is not valid, also
        because it was rotated under another key or too long ago; Overloaded while too many others
        rotate; StoreUnavailable if a store is unavailable or too much waits to be stored.
    """
    # Looked up in this order: a token that is not valid any more has its rotation in the table,
    # however recently a concurrent request committed it. Nobody takes a place without either.
    done = None if is_valid(access_token) else find_done(access_token, key)
    replayed = done is not None
    _places.take(access_token)
    try:
        if done is None:
            done = begin(access_token, key, patience_seconds)
        if done is None:  # it was rotated by a concurrent request
            done, replayed = find_done(access_token, key), True
        finish(done, patience_seconds)
        return Rotated(done.application, replayed)
    finally:
        _places.give_back(access_token)


def is_valid(access_token: str) -> bool:
    """Return whether an application has this token."""
    row = fetch_before_change(APPLICATION, (access_token,))
    return row is not None and row[0] is not None  # a row without a value: see `batched`


def find_done(access_token: str, key: str) -> Done:
    """Return what a request with this key has done before, to a token that is not valid any more.

    Raises NotFound if the token never was, or was rotated under another key, or too long ago.
    """
    row = fetch_before_change(FIND, (access_token,))
    if row is None:
        raise missing_application(access_token)
    rotation_id, former_key, answer, is_recent = row
    if former_key.decode() != key or not is_recent:
        raise missing_application(access_token)
    return Done(rotation_id, answer)


def begin(access_token: str, key: str, patience_seconds: float = PATIENCE_SECONDS) -> Done | None:
    """Change the token in PostgreSQL; return None if the application has another one by now.

    Raises StoreUnavailable if a store fails or too much waits to be stored.
    """
    wait_for_backlog(access_token, patience_seconds)
    token = new_access_token()

    def write(connection: Connection) -> Written[Done | None]:
        row = connection.execute(ROTATE, (token, access_token, access_token, key)).fetchone()
        return Written(None, None) if row is None else Written(Done(row[0], row[1]), row[2])

    done = change(write)
    if done is not None:
        copy_limit(access_token)
        copy_limit(token)
        announce(access_token, WHOLE_APPLICATION)
    return done


def wait_for_backlog(access_token: str, patience_seconds: float) -> None:
    """Wait until what was accepted so far is stored, so that little is left to do afterwards.

    Raises StoreUnavailable if it takes too long: the new token would be of no use for creations.
    """
    try:
        is_short = wait_until_stored(access_token, patience_seconds)
    except RedisError as error:
        raise StoreUnavailable.nothing_changed() from error
    if not is_short:
        raise StoreUnavailable(
            "Too many creations wait to be stored; nothing was changed.", retry_after=5
        )


def finish(done: Done, patience_seconds: float) -> None:
    """Have the former token refused everywhere, and wait a while for its last entries.

    If they take longer, the new token can be used already, but not yet for creations. Raises
    StoreUnavailable if a store fails.
    """
    try:
        run(lambda connection: finish_within(connection, done.id, patience_seconds))
    except (RedisError, StoreUnavailable) as error:
        raise StoreUnavailable(NOT_FINISHED) from error
