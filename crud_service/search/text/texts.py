"""Rows of `search_texts`, from which both backends derive their terms."""

from collections.abc import Sequence
from dataclasses import dataclass

# The `created_ms` of a row `message`: rounded down, as clients see the time.
CREATED_MS = "floor(extract(epoch FROM message.created_at) * 1000)::bigint"


@dataclass(frozen=True, slots=True)
class Text:
    chat_id: int
    number: int
    message_id: int
    version: int
    marked: str
    # Of the message, for Elasticsearch: PostgreSQL looks these up.
    sender: str | None = None
    created_ms: int | None = None


def columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    """Transpose rows into columns, as `unnest` takes them; `width` columns if there are none."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
