"""What becomes of a call: a reply to each of its batches, an answer to each creation."""

import logging
from collections.abc import Sequence
from typing import Any

from numbering_service.creation import Answer
from numbering_service.creations.numbers import Reply, outcome_unknown, read_reply
from numbering_service.creations.pending import Batch, Pending
from web.problems import Problem

_log = logging.getLogger(__name__)


def read_outcomes(outcome: Any, batches: Sequence[Batch]) -> list[Reply]:
    """Return the reply to each batch of a call, in whatever way that failed."""
    parts = outcome if isinstance(outcome, list) and len(outcome) == len(batches) else None
    return [
        read_outcome(parts[position] if parts else outcome, len(batch.pending))
        for position, batch in enumerate(batches)
    ]


def read_outcome(outcome: Any, size: int) -> Reply:
    """Return the reply to a batch, with an answer for each creation even if the call failed."""
    if isinstance(outcome, Problem):
        return Reply(False, None, None, [outcome] * size)
    try:
        reply = read_reply(outcome)
        if len(reply.answers) == size:
            return reply
        _log.error("a batch of %d received %d answers", size, len(reply.answers))
    except (TypeError, ValueError):
        _log.exception("a reply cannot be read")
    return Reply(False, None, None, [outcome_unknown()] * size)


def settle(pending: Pending, answer: Answer) -> None:
    """Deliver an answer; a failure must not affect the other answers of the batch."""
    try:
        pending.settle(answer)
    except Exception:
        _log.exception("answering failed", extra={"request_id": pending.creation.request_id})
