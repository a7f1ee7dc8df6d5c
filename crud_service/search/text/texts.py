"""Rows of `search_texts`: what both backends make their terms of."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A message's folded and marked text, and of which version of the message it is."""

    chat_id: int
    number: int
    message_id: int
    version: int
    marked: str


def columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    """Rows turned into columns, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
