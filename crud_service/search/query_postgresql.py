"""Finds the messages of a chat that match, in PostgreSQL.

A short chat is read through. In a long one the blocks that can hold a match
are looked up by their grams, the newest messages, which no block covers yet,
are candidates anyway, and candidates are read in order until the page is full.
`strpos` decides: it knows no pattern, so there is nothing to escape.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

from crud_service.search.blocks import ANY_GRAM, block_of, gram_keys
from crud_service.search.folding import RUN_SEPARATOR
from crud_service.search.grams import part_grams
from crud_service.search.plan import Hit, Plan

Connection = psycopg.Connection[tuple[Any, ...]]

READ_THROUGH = """
SELECT rank, number FROM (
    SELECT {rank} AS rank, number FROM search_texts
    WHERE chat_id = %(chat_id)s AND {inside}
) AS hit
WHERE {after} ORDER BY rank DESC, number {order} LIMIT %(limit)s
"""

# For each rank the blocks that may hold a hit of it.
CANDIDATES = """
SELECT tier.rank, covered.block
FROM unnest(%(ranks)s::int[], %(keys)s::text[]) AS tier (rank, keys)
JOIN search_blocks AS covered ON covered.keys @> string_to_array(tier.keys, E'\\n')
UNION
SELECT rank, block FROM unnest(%(ranks)s::int[]) AS rank CROSS JOIN generate_series(
    %(blocks)s, (SELECT (max(number) - 1) / 64 FROM search_texts WHERE chat_id = %(chat_id)s)
) AS block
"""

# The nested loop over the sorted candidates hands hits on in the right order
# and ends with the limit. The inner limit keeps the planner from merging the
# queries, and so from any other order.
READ_TIERS = """
SELECT candidate.rank, hit.number
FROM (
    SELECT rank, block FROM ({candidates}) AS candidate
    WHERE {block_after} ORDER BY rank DESC, block {order}
) AS candidate
CROSS JOIN LATERAL (
    SELECT number FROM (
        SELECT number, {rank} AS rank FROM search_texts
        WHERE chat_id = %(chat_id)s AND number BETWEEN block * 64 + 1 AND block * 64 + 64
          AND {inside}
    ) AS hit
    WHERE hit.rank = candidate.rank AND {after}
    ORDER BY number {order} LIMIT 64
) AS hit
LIMIT %(limit)s
"""

RANK_CANDIDATES = """
SELECT hit.rank, hit.number
FROM ({candidates}) AS candidate
CROSS JOIN LATERAL (
    SELECT {rank} AS rank, number FROM search_texts
    WHERE chat_id = %(chat_id)s AND number BETWEEN block * 64 + 1 AND block * 64 + 64 AND {inside}
    LIMIT 64
) AS hit
WHERE {after} ORDER BY hit.rank DESC, hit.number {order} LIMIT %(limit)s
"""


def find_hits(connection: Connection, plan: Plan, blocks: int) -> list[Hit]:
    """The first hits of a plan; `blocks` is how many blocks of the chat are covered."""

    def run(statement: str, ranks: Sequence[int]) -> list[Hit]:
        parameters = bind(plan, blocks, ranks)
        return [Hit(*row) for row in connection.execute(write(statement, plan), parameters)]

    if not blocks:
        return run(READ_THROUGH, ())
    if not plan.ranked or len(plan.parts) == 1:
        return run(READ_TIERS, plan.tiers)
    # Of several parts there are many tiers, all with the same candidates: only
    # the best one is worth reading by itself.
    if plan.max_rank == 2 * len(plan.parts):
        hits = run(READ_TIERS, plan.tiers[:1])
        if len(hits) == plan.limit:
            return hits
    return run(RANK_CANDIDATES, (0,))


def write(statement: str, plan: Plan) -> str:
    """A statement with the conditions of a plan in it; every value stays a parameter."""
    inside = [f"strpos(marked, %(inside{i})s) > 0" for i in range(len(plan.parts))]
    # A whole word is a start too, so it is looked for behind a start only.
    edges = [
        f"CASE WHEN strpos(marked, %(start{i})s) = 0 THEN 0"
        f" WHEN strpos(marked, %(whole{i})s) = 0 THEN 1 ELSE 2 END"
        for i in range(len(plan.parts))
    ]
    after, block_after = "true", "true"
    if plan.after:
        sign, order = (">", ">=") if plan.ascending else ("<", "<=")
        after = f"(hit.rank < %(rank)s OR hit.rank = %(rank)s AND hit.number {sign} %(number)s)"
        block_after = f"(rank < %(rank)s OR block {order} %(block)s)"
    return statement.format(
        candidates=CANDIDATES,
        inside=" AND ".join(inside),
        rank=" + ".join(edges) if plan.ranked else "0",
        after=after,
        block_after=block_after,
        order="ASC" if plan.ascending else "DESC",
    )


def bind(plan: Plan, blocks: int, ranks: Sequence[int]) -> dict[str, Any]:
    """The parameters of a statement."""
    after = plan.after or Hit(0, 1)
    any_key = gram_keys(plan.chat_id, [ANY_GRAM])[0]
    return {
        "chat_id": plan.chat_id,
        "limit": plan.limit,
        "blocks": blocks,
        "rank": after.rank,
        "number": after.number,
        "block": block_of(after.number),
        "ranks": [*ranks, *ranks],
        "keys": [RUN_SEPARATOR.join(tier_keys(plan, rank)) for rank in ranks]
        + [any_key] * len(ranks),
        **{f"inside{i}": part.inside for i, part in enumerate(plan.parts)},
        **{f"start{i}": part.start for i, part in enumerate(plan.parts)},
        **{f"whole{i}": part.whole for i, part in enumerate(plan.parts)},
    }


def tier_keys(plan: Plan, rank: int) -> list[str]:
    """The keys that a block must have to hold a hit of a rank."""
    if rank == 2 * len(plan.parts):
        forms = [part.whole for part in plan.parts]
    elif rank == 1 and len(plan.parts) == 1:
        forms = [part.start for part in plan.parts]
    else:
        forms = [part.inside for part in plan.parts]
    return gram_keys(plan.chat_id, {gram for form in forms for gram in part_grams(form)})
