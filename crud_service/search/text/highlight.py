"""Shows where a message matches: its body in HTML, every occurrence in `<em>`.

Occurrences are looked for in the folded body, whose offsets are those of the
body but for the few characters that fold to none or to several. Spans are
widened to whole characters as a reader sees them (extended grapheme clusters,
UAX #29), and never overlap.

A `Budget` bounds what one request may cost. A body that is beyond it is
escaped and has no `<em>`.
"""

import html
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wcwidth import iter_graphemes

from crud_service.search.text.character_table import RESIZED
from crud_service.search.text.folding import CLUSTER, Part, fold, read, spell

Span = tuple[int, int]

MAX_BYTES = 4_000_000
MAX_SPANS = 50_000
MAX_SECONDS = 0.5
# Occurrences of one part may overlap, and parts may contain one another, so more are
# found in one body than are shown in it; this many take some 20 ms.
MAX_SPANS_OF_A_BODY = 20_000

_RESIZED = re.compile(f"[{RESIZED}]")
_CLUSTER_OR_RESIZED = re.compile(f"{CLUSTER.pattern}|[{RESIZED}]")


class BudgetExceeded(Exception):
    """A body has more occurrences than may be looked at."""


@dataclass(slots=True)
class Budget:
    """What is left for the highlights of one request."""

    size: int = MAX_BYTES
    spans: int = MAX_SPANS
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def allows(self, body: str) -> bool:
        """Whether a body may be looked at; takes its size off."""
        self.size -= len(body) if body.isascii() else len(body.encode())
        return self.size >= 0 and self.spans > 0 and time.monotonic() < self.deadline


def highlight(body: str, parts: Sequence[Part], budget: Budget) -> str:
    """The body, escaped, with each occurrence of each part marked as far as the budget goes."""
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
    """The body, escaped, with spans in `<em>`; they are in order and do not overlap."""
    pieces, end = [], 0
    for low, high in spans:
        pieces += [html.escape(body[end:low]), "<em>", html.escape(body[low:high]), "</em>"]
        end = high
    return "".join([*pieces, html.escape(body[end:])])


def find_spans(body: str, parts: Sequence[Part], limit: int) -> list[Span]:
    """Where in the body the parts occur, in order, overlaps merged, in whole characters.

    Raises BudgetExceeded for more than `limit` occurrences.
    """
    wanted = list(dict.fromkeys(one.folded for part in parts for one in part.readings))
    spans: set[Span] = set()
    for text, find_origins in readings(body):
        found = list(occurrences(text, wanted, limit - len(spans)))
        if found:
            spans |= origins(find_origins(), found)
    merged = merge(sorted(spans))
    return merged if body.isascii() or not merged else merge(widen(body, merged))


def readings(body: str) -> Iterator[tuple[str, Callable[[], list[tuple[int, Span]]]]]:
    """Both readings of a body if they differ, and where the characters of each come from."""
    folded, spelled = read(body)
    yield spelled, lambda: [] if body.isascii() else breaks(body, _RESIZED, spell)
    if folded != spelled:
        yield folded, lambda: breaks(body, _CLUSTER_OR_RESIZED, fold)


def occurrences(text: str, wanted: Iterable[str], limit: int) -> Iterator[Span]:
    """Where the wanted strings occur in a text, those included that overlap."""
    for each in wanted:
        position = text.find(each)
        while position >= 0:
            limit -= 1
            if limit < 0:
                raise BudgetExceeded
            yield position, position + len(each)
            position = text.find(each, position + 1)


def breaks(
    body: str, token: re.Pattern[str], folding: Callable[[str], str]
) -> list[tuple[int, Span]]:
    """Where offsets of the folded body stop being those of the body plus a constant.

    Each item is an offset of the folded body and the span that what stands
    there comes from; behind it, characters correspond one to one again.
    """
    found: list[tuple[int, Span]] = []
    shift = 0
    for match in token.finditer(body):
        low, high = match.span()
        size = len(folding(match[0]))
        found += [(low + shift + i, (low, high)) for i in range(size)]
        shift += size - (high - low)
        found.append((high + shift, (high, high + 1)))
    return found


def origins(found: list[tuple[int, Span]], spans: Iterable[Span]) -> set[Span]:
    """Spans of a folded body as spans of the body."""
    if not found:
        return set(spans)
    offsets = [offset for offset, _span in found]

    def origin(offset: int) -> Span:
        index = bisect_right(offsets, offset) - 1
        if index < 0:
            return offset, offset + 1
        at, (low, high) = found[index]
        return low + offset - at, high + offset - at

    return {(origin(low)[0], origin(high - 1)[1]) for low, high in spans}


def widen(body: str, spans: Sequence[Span]) -> list[Span]:
    """Spans whose ends are moved out to those of grapheme clusters."""
    edges = [0]
    for cluster in iter_graphemes(body):
        edges.append(edges[-1] + len(cluster))
    wide = []
    for low, high in spans:
        last = bisect_right(edges, high - 1)
        wide.append((edges[bisect_right(edges, low) - 1], edges[last]))
    return wide


def merge(spans: Sequence[Span]) -> list[Span]:
    """Sorted spans, those that overlap (and not those that only touch) made one."""
    merged: list[Span] = []
    for low, high in spans:
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
