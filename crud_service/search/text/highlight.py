"""Highlights where a message matches: its body as HTML, with every occurrence in `<em>`.

Occurrences are searched for in the folded body, whose offsets equal those of the
body except after the few characters that fold to none or to several. Spans are
widened to whole user-perceived characters (extended grapheme clusters, UAX #29),
and never overlap.

A `Budget` limits the cost of one request. A body that exceeds it is escaped and has
no `<em>`.
"""

import html
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wcwidth import iter_graphemes

from crud_service.search.text.character_table import RESIZED
from crud_service.search.text.folding import CLUSTER, Part, fold, read, spell

Span = tuple[int, int]

MAX_BYTES = 4_000_000
MAX_SPANS = 50_000
MAX_SECONDS = 0.5
# Occurrences of one part may overlap, and parts may contain one another, so a body can have
# more occurrences than highlights; this many take some 20 ms.
MAX_SPANS_OF_A_BODY = 20_000

_RESIZED = re.compile(f"[{RESIZED}]")
_CLUSTER_OR_RESIZED = re.compile(f"{CLUSTER.pattern}|[{RESIZED}]")


class BudgetExceeded(Exception):
    """A body has more occurrences than the budget allows."""


@dataclass(slots=True)
class Budget:
    """What one request may still spend on highlights: bytes, occurrences and time."""

    size: int = MAX_BYTES
    spans: int = MAX_SPANS
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def allows(self, body: str) -> bool:
        """Subtract the size of a body, and return whether the body may be highlighted."""
        self.size -= len(body) if body.isascii() else len(body.encode())
        return self.size >= 0 and self.spans > 0 and time.monotonic() < self.deadline


def highlight(body: str, parts: Sequence[Part], budget: Budget) -> str:
    """Return a body, escaped, with each occurrence of each part in `<em>` if in budget.

    Args:
        body: the text as it was sent.
        parts: those of the keyword.
        budget: what is left for the bodies of a page; it is charged.
    """
    if not budget.allows(body):
        return html.escape(body)
    try:
        spans = find_spans(body, parts, min(budget.spans, MAX_SPANS_OF_A_BODY))
    except BudgetExceeded:
        budget.spans -= MAX_SPANS_OF_A_BODY
        return html.escape(body)
    budget.spans -= len(spans)
    return emphasise(body, spans)


def emphasise(body: str, spans: Iterable[Span]) -> str:
    """Return the body, escaped, with spans in `<em>`; they must be sorted and not overlap."""
    pieces, end = [], 0
    for low, high in spans:
        pieces += [html.escape(body[end:low]), "<em>", html.escape(body[low:high]), "</em>"]
        end = high
    return "".join([*pieces, html.escape(body[end:])])


def find_spans(body: str, parts: Sequence[Part], limit: int) -> list[Span]:
    """Return where in the body the parts occur: sorted, merged, widened to whole characters.

    Raises BudgetExceeded for more than `limit` occurrences.
    """
    wanted = list(dict.fromkeys(form.folded for part in parts for form in part.readings))
    spans: set[Span] = set()
    for reading in readings(body):
        found = list(occurrences(reading.text, wanted, limit - len(spans)))
        if found:
            spans |= origins(reading.find_breaks(), found)
    merged = merge(sorted(spans))
    return merged if body.isascii() or not merged else merge(widen(body, merged))


class Break(NamedTuple):
    """Where offsets of the folded body and of the body diverge.

    `span` is where in the body the text at `offset` of the folded body comes from; after it,
    characters correspond one to one again.
    """

    offset: int
    span: Span


class Reading(NamedTuple):
    """A reading of a body, and a function that finds its breaks."""

    text: str
    find_breaks: Callable[[], list[Break]]


def readings(body: str) -> Iterator[Reading]:
    folded, spelled = read(body)
    yield Reading(spelled, lambda: [] if body.isascii() else breaks(body, _RESIZED, spell))
    if folded != spelled:
        yield Reading(folded, lambda: breaks(body, _CLUSTER_OR_RESIZED, fold))


def occurrences(text: str, wanted: Iterable[str], limit: int) -> Iterator[Span]:
    """Yield where the wanted strings occur in a text, including overlapping occurrences.

    Raises BudgetExceeded for more than `limit` occurrences.
    """
    for string in wanted:
        position = text.find(string)
        while position >= 0:
            limit -= 1
            if limit < 0:
                raise BudgetExceeded
            yield position, position + len(string)
            position = text.find(string, position + 1)


def breaks(body: str, token: re.Pattern[str], folding: Callable[[str], str]) -> list[Break]:
    """Return the breaks of a body; `token` matches what `folding` may resize."""
    found: list[Break] = []
    shift = 0
    for match in token.finditer(body):
        low, high = match.span()
        size = len(folding(match[0]))
        found += [Break(low + shift + i, (low, high)) for i in range(size)]
        shift += size - (high - low)
        found.append(Break(high + shift, (high, high + 1)))
    return found


def origins(found: list[Break], spans: Iterable[Span]) -> set[Span]:
    """Map spans of a folded body to spans of the body."""
    if not found:
        return set(spans)
    offsets = [it.offset for it in found]

    def origin(offset: int) -> Span:
        index = bisect_right(offsets, offset) - 1
        if index < 0:
            return offset, offset + 1
        at, (low, high) = found[index]
        return low + offset - at, high + offset - at

    return {(origin(low)[0], origin(high - 1)[1]) for low, high in spans}


def widen(body: str, spans: Sequence[Span]) -> list[Span]:
    """Extend spans to the boundaries of grapheme clusters."""
    edges = [0]
    for cluster in iter_graphemes(body):
        edges.append(edges[-1] + len(cluster))
    wide = []
    for low, high in spans:
        last = bisect_right(edges, high - 1)
        wide.append((edges[bisect_right(edges, low) - 1], edges[last]))
    return wide


def merge(spans: Sequence[Span]) -> list[Span]:
    """Merge sorted spans that overlap; those that only touch stay separate."""
    merged: list[Span] = []
    for low, high in spans:
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
