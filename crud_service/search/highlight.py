"""Shows where a message matches: its body in HTML, every occurrence in `<em>`."""

import html
import re
from collections.abc import Iterator, Sequence

from crud_service.search.folding import EDGE, SEGMENT, Part, fold_segment, mark_folded

_RUN = re.compile(r"\S+")
Span = tuple[int, int]


def highlight(body: str, parts: Sequence[Part]) -> str:
    """The body, escaped, with each occurrence of each part marked; overlaps become one."""
    pieces, end = [], 0
    for low, high in merge(sorted(find_spans(body, parts))):
        pieces += [html.escape(body[end:low]), f"<em>{html.escape(body[low:high])}</em>"]
        end = high
    return "".join([*pieces, html.escape(body[end:])])


def find_spans(body: str, parts: Sequence[Part]) -> Iterator[Span]:
    """Where in the body the parts occur, in no order."""
    for run in _RUN.finditer(body):
        marked, origins = mark_with_origins(run[0])
        for part in parts:
            length = len(part.inside)
            for position in _occurrences(part.inside, marked):
                low, high = origins[position], origins[position + length - 1]
                yield run.start() + low[0], run.start() + high[1]


def mark_with_origins(run: str) -> tuple[str, list[Span]]:
    """A run as `mark` gives it, and for each of its characters the part of the run it is from."""
    folded, spans = [], []
    for segment in SEGMENT.finditer(run):
        piece = fold_segment(segment[0])
        folded.append(piece)
        spans += [segment.span()] * len(piece)
    marked = mark_folded("".join(folded))
    rest = iter(spans)
    # No part begins or ends on an edge, so an edge's own origin is never asked for.
    return marked, [(0, 0) if character == EDGE else next(rest) for character in marked]


def _occurrences(part: str, text: str) -> Iterator[int]:
    position = text.find(part)
    while position >= 0:
        yield position
        position = text.find(part, position + 1)


def merge(spans: Sequence[Span]) -> list[Span]:
    """Sorted spans, those that overlap (and not those that only touch) made one."""
    merged: list[Span] = []
    for low, high in spans:
        if merged and (low < merged[-1][1] or (low, high) == merged[-1]):
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
