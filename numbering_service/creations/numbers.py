"""The numbering script: packs the call for batches, and reads the reply to each."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import orjson
from hiredis import pack_command

from contract import keys
from contract.entries import EntryId, read_id
from numbering_service.creation import Answer, BadReply, Created, no_parent
from numbering_service.creations.pending import Batch
from numbering_service.metrics import RATE_LIMITED, REPLAYED
from numbering_service.rate_limits import Limit, Rate
from web.problems import (
    ChatDeleted,
    KeyReused,
    Overloaded,
    RateLimited,
    StoreUnavailable,
)

_MISSING_SEQUENCE, _KEY_REUSED, _STREAM_FULL, _UNKNOWN = 0, -1, -2, -4
_BAD_REPLY, _CHAT_DELETED, _DELETING, _OUT_OF_MEMORY, _RATE_LIMITED = -5, -6, -7, -8, -10
_BAD_REPLY_IN_BULK = -1000


class RejectedEntry(StoreUnavailable):
    """An error of Redis, or the value of a key, leads to no number."""


class NumbersScript:
    """numbers.lua: its text, and how it is called."""

    def __init__(self, *, max_backlog: int, default_rate: Rate, acknowledged: bool = False) -> None:
        """With `acknowledged`, every call is a write, for which replicas can be waited."""
        self.source = script_text(max_backlog, default_rate)
        # Redis identifies scripts by SHA-1; this has nothing to do with security.
        self._sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self._acknowledged = acknowledged

    def pack(self, batches: Sequence[Batch], *, again: bool) -> bytes:
        """Pack the call for batches, each of another shard, into bytes for the wire.

        The script stores the answers to each batch under its id: a call that is sent `again`
        after a lost reply finds them there, so nothing is done twice.
        """
        script_keys = [batch.shard.key(keys.LIMITS) for batch in batches]
        again = again or self._acknowledged
        arguments = [pack_batch(batch, script_keys, again=again) for batch in batches]
        command: Any = ("EVALSHA", self._sha, len(script_keys), *script_keys, *arguments)
        packed: bytes = pack_command(command)
        return packed


def pack_batch(batch: Batch, script_keys: list[str], *, again: bool) -> bytes:
    """Add the keys of a batch to those of its call, and return its argument."""
    tag = batch.shard.tag
    # By key, which of the batch's it is.
    places = {tag + keys.ACCEPTED: 1, tag + keys.batch(batch.id): 2}
    creations: list[int | str] = []
    attributes: list[Any] = []
    position = 1
    for pending in batch.pending:
        creation = pending.creation
        sequence, idempotency = creation.script_keys(tag)
        creations.append(places.setdefault(sequence, len(places) + 1))
        creations.append(places.setdefault(idempotency, len(places) + 1) if idempotency else 0)
        creations += creation.script_arguments(tag)
        if creation.attributes:
            attributes += creation.script_attributes(position)
        position += creation.numbers
    script_keys += places
    return orjson.dumps((len(places), again, attributes, creations))


def script_text(max_backlog: int, default_rate: Rate) -> str:
    """Return numbers.lua, with what does not differ between calls as local variables before it."""
    local_variables: dict[str, int | str] = {
        "MAX_BACKLOG": max_backlog,
        "SEQUENCE_TTL": keys.SEQUENCE_TTL_SECONDS,
        "IDEMPOTENCY_TTL": keys.IDEMPOTENCY_TTL_SECONDS,
        "BATCH_TTL": keys.BATCH_TTL_SECONDS,
        "WAKE_UP_TTL": keys.WAKE_UP_TTL_MS,
        "DEFAULT_RATE": default_rate.rate,
        "DEFAULT_BURST": default_rate.burst,
        "LEASE": keys.LEASE_PERSIST,
        "WAKE_UP": keys.WAKE_UP_PERSIST,
        "LIMITS": keys.LIMITS,
        "LIMITER": keys.LIMITER,
    }
    text = files("numbering_service.creations").joinpath("numbers.lua").read_text(encoding="utf-8")
    return "".join(f"local {name} = {value!r}\n" for name, value in local_variables.items()) + text


class Reply:
    """The script's reply to a batch.

    `last` is the id of the batch's last entry, None if it has none. Every entry before `oldest`
    is stored; None when the reply does not tell.
    """

    __slots__ = ("answers", "last", "oldest", "wake")

    def __init__(
        self, wake: bool, last: EntryId | None, oldest: EntryId | None, answers: list[Answer]
    ) -> None:
        self.wake = wake
        self.last = last
        self.oldest = oldest
        self.answers = answers


def read_reply(reply: Sequence[Any]) -> Reply:
    """Read the script's reply to a batch; raises TypeError or ValueError when it is malformed."""
    wake, last, oldest, *answers = reply
    if not isinstance(last, bytes) or not isinstance(oldest, bytes):
        raise TypeError("no ids of entries")
    return Reply(
        wake == 1,
        read_id(last) if last else None,
        read_id(oldest) if oldest else None,
        [read_answer(answer) for answer in answers],
    )


def read_answer(answer: int | bytes | list[int]) -> Answer:
    """Read the script's answer to a creation, and count replays and refusals by a limit."""
    if isinstance(answer, int) and answer > 0:
        return Created(answer)
    if isinstance(answer, bytes):
        REPLAYED.inc()
        return Created(int(answer), replayed=True)
    if isinstance(answer, list):
        return read_limited(*answer)
    if answer == _MISSING_SEQUENCE:
        return None
    if answer == _KEY_REUSED:
        return KeyReused()
    if answer == _UNKNOWN:
        return no_parent()
    if answer <= _BAD_REPLY_IN_BULK:
        return BadReply(_BAD_REPLY_IN_BULK - answer)
    if answer == _BAD_REPLY:
        return BadReply(0)
    if answer == _CHAT_DELETED:
        return ChatDeleted()
    if answer == _DELETING:
        return StoreUnavailable("This is being deleted; nothing was changed.")
    if answer == _STREAM_FULL:
        return Overloaded("Too many creations are waiting to be stored; nothing was changed.")
    if answer == _OUT_OF_MEMORY:
        return Overloaded("Redis is out of memory; nothing was changed.")
    return RejectedEntry("Redis rejected the entry; nothing was changed.")


def read_limited(answer: int, *state: int) -> Answer:
    """Read an answer for which the limiter was asked."""
    limit = Limit(*state)
    if answer == _RATE_LIMITED:
        RATE_LIMITED.inc()
        return RateLimited(headers=limit.fields())
    return Created(answer, limit=limit)


def outcome_unknown() -> StoreUnavailable:
    """Return the problem of a creation of which only Redis knows whether it happened."""
    return StoreUnavailable(
        "Redis is unavailable, so it is not known whether this was created. Repeat the request "
        "with the same Idempotency-Key to create it once.",
        retry_after=2,
    )


def not_sent() -> StoreUnavailable:
    """Return the problem of a creation that Redis has certainly not seen."""
    return StoreUnavailable("Redis is unavailable; nothing was changed.", retry_after=2)
