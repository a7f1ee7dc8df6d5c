"""Logs one line per stored batch, with its request ids, so that a request can be traced."""

import logging
import time

from crud_service.persist.accepted import Batch
from crud_service.persist.store import Stored, created_ms

logger = logging.getLogger(__name__)


def log_batch(batch: Batch, stored: Stored, seconds: float) -> None:
    """Log a stored batch in one line, and each of its conflicts in another.

    Args:
        batch: what was read from the stream.
        stored: what became of it.
        seconds: how long storing it took.
    """
    logger.info(
        "batch stored",
        extra={
            "entries": len(batch),
            **outcome(batch, stored),
            "duration_ms": round(seconds * 1000, 1),
            "lag_ms": oldest_age_ms(batch),
            "request_ids": list(dict.fromkeys(entry.request_id for entry in batch.entries)),
        },
    )
    for entry in stored.conflicts:
        logger.error(
            "number taken by another creation: kept as a conflict",
            extra={
                "entry_id": entry.entry_id,
                "chat_number": entry.chat_number,
                "number": entry.number,
                "request_id": entry.request_id,
            },
        )


def outcome(batch: Batch, stored: Stored) -> dict[str, int]:
    """Return what became of a batch's entries, by the names that logs and metrics have for it."""
    return {
        "messages": stored.messages,
        "chats": stored.chats,
        "replays": stored.replays,
        "dropped": stored.dropped,
        "conflicts": len(stored.conflicts),
        "set_aside": len(batch.bad) + stored.set_aside,
    }


def oldest_age_ms(batch: Batch) -> int:
    if not batch.entries:
        return 0
    return max(0, round(time.time() * 1000) - created_ms(batch.entries[0]))
