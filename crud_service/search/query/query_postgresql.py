"""Finds the matching messages of a chat in PostgreSQL.

A short chat is scanned. In a long one, the blocks that can hold a match are looked up
by their grams; the newest messages, which no block covers yet, are always candidates.
Candidates are read in order until the page is full. `strpos` does the final match:
it takes no patterns, so nothing needs escaping. Filters narrow the numbers that are looked at
(see `narrowing`), and each match is checked against them.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

from crud_service.chat.filters import conditions
from crud_service.search.index.blocks import FILLED_BLOCKS, any_key, block_of, gram_keys
from crud_service.search.query.narrowing import Narrowed, narrow
from crud_service.search.query.plan import Hit, Level, Plan, forms
from crud_service.search.text.folding import RUN_SEPARATOR, Part
from crud_service.search.text.grams import part_grams
from crud_service.stores.database import Connection

# By how many of the parts with two readings blocks are looked up: each doubles the lookups.
MOST_DOUBLE = 3

READ_THROUGH = """
SELECT rank, number FROM (
    SELECT {rank} AS rank, number FROM search_texts
    WHERE chat_id = %(chat_id)s AND {inside}
) AS hit
WHERE {after} ORDER BY rank DESC, number {order} LIMIT %(limit)s
"""

NEWEST_BLOCKS = FILLED_BLOCKS.format(
    first="greatest(%(blocks)s, %(first_block)s)::bigint", last="%(last_block)s"
)

# For each rank, the blocks that may hold a hit of that rank. `blocks_with` reads the index of grams
# whatever the planner believes: where it has a choice, it may read and compare all keys instead.
CANDIDATES = f"""
SELECT tier.rank, covered.block
FROM unnest(%(ranks)s::int[], %(keys)s::text[]) AS tier (rank, keys)
CROSS JOIN LATERAL blocks_with(%(chat_id)s, string_to_array(tier.keys, E'\\n'))
    AS covered (block)
WHERE covered.block BETWEEN %(first_block)s AND %(last_block)s
UNION
SELECT rank, block FROM unnest(%(ranks)s::int[]) AS rank CROSS JOIN ({NEWEST_BLOCKS}) AS newest
"""

# The nested loop over the sorted candidates returns hits in the right order and
# stops at the limit. The inner limit keeps the planner from merging the
# queries, which would allow another order.
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


# OFFSET keeps the planner from joining all messages of a chat: only matches are looked up.
PASSES = """EXISTS (
    SELECT FROM messages x
    WHERE x.chat_id = search_texts.chat_id AND x.number = search_texts.number
      AND x.id = search_texts.message_id{} OFFSET 0
)"""


def find_hits(connection: Connection, plan: Plan, blocks: int) -> list[Hit]:
    """Return the first hits of a plan in a chat with this many covered blocks."""
    narrowed = narrow(connection, plan.chat_id, plan.filters)

    def run(statement: str, ranks: Sequence[int]) -> list[Hit]:
        parameters = bind(plan, narrowed, blocks, ranks)
        written = write(statement, plan, narrowed)
        return [Hit(*row) for row in connection.execute(written, parameters).fetchall()]

    if not blocks or narrowed.numbers is not None or not plan.parts:
        return run(READ_THROUGH, ())
    if not plan.ranked or len(plan.parts) == 1:
        return run(READ_TIERS, plan.tiers)
    # Several parts make many tiers, and all but the best one have the same candidates:
    # only the best one is worth a query of its own.
    if plan.max_rank == 2 * len(plan.parts):
        hits = run(READ_TIERS, plan.tiers[:1])
        if len(hits) == plan.limit:
            return hits
    return run(RANK_CANDIDATES, (0,))


def combinations(plan: Plan) -> list[tuple[Part, ...]]:
    """Return the ways to choose a reading for each part by which blocks are looked up.

    Parts with two readings beyond MOST_DOUBLE are left out: that finds more blocks, never fewer.
    """
    double = [part for part in plan.parts if part.spelled is not None]
    left_out = double[MOST_DOUBLE:]
    return list(product(*(part.readings for part in plan.parts if part not in left_out)))


def write(statement: str, plan: Plan, narrowed: Narrowed) -> str:
    """Insert the conditions of a plan into a statement; every value stays a parameter."""
    inside = [contains(Level.INSIDE, i, part) for i, part in enumerate(plan.parts)]
    if plan.filters:
        inside.append("number >= %(since)s AND number <= %(until)s")
        if narrowed.numbers is not None:
            inside.append("number = ANY(%(numbers)s)")
        inside.append(PASSES.format(conditions(plan.filters)))
    # A whole word is also a start, so it is only looked for where there is a start.
    edges = [
        f"CASE WHEN NOT {contains(Level.START, i, part)} THEN 0"
        f" WHEN NOT {contains(Level.WHOLE, i, part)} THEN 1 ELSE 2 END"
        for i, part in enumerate(plan.parts)
    ]
    after, block_after = "true", "true"
    if plan.after:
        sign, order = (">", ">=") if plan.ascending else ("<", "<=")
        after = f"(hit.rank < %(rank)s OR hit.rank = %(rank)s AND hit.number {sign} %(number)s)"
        block_after = f"(rank < %(rank)s OR block {order} %(block)s)"
    return statement.format(
        candidates=CANDIDATES,
        inside=" AND ".join(inside) or "true",
        rank=(" + ".join(edges) if plan.ranked else "") or "0",
        after=after,
        block_after=block_after,
        order="ASC" if plan.ascending else "DESC",
    )


def contains(level: Level, position: int, part: Part) -> str:
    parameters = [name(level, position, i) for i in range(len(forms(part, level)))]
    return "(" + " OR ".join(f"strpos(marked, %({form})s) > 0" for form in parameters) + ")"


def name(level: Level, position: int, alternative: int) -> str:
    """Return the name of the parameter for one of the readings of a part, by its position."""
    return f"{level.name.lower()}_{position}_{alternative}"


def bind(plan: Plan, narrowed: Narrowed, blocks: int, ranks: Sequence[int]) -> dict[str, Any]:
    """Return the parameters of a statement; `ranks` are those whose blocks are looked up."""
    after = plan.after or Hit(0, 1)
    tiers = [(rank, any_key(plan.chat_id)) for rank in ranks]
    for rank, parts in product(ranks, combinations(plan)):
        keys = tier_keys(plan.chat_id, parts, level_of(plan, rank))
        tiers.append((rank, RUN_SEPARATOR.join(keys)))
    return {
        "chat_id": plan.chat_id,
        "limit": plan.limit,
        "blocks": blocks,
        "first_block": block_of(narrowed.since),
        "last_block": block_of(narrowed.until),
        "rank": after.rank,
        "number": after.number,
        "block": block_of(after.number),
        "ranks": [rank for rank, _keys in tiers],
        "keys": [keys for _rank, keys in tiers],
        **{
            name(level, position, i): form
            for position, part in enumerate(plan.parts)
            for level in Level
            for i, form in enumerate(forms(part, level))
        },
        **narrowed._asdict(),
        **plan.filters,
    }


def level_of(plan: Plan, rank: int) -> Level:
    """Return the level at which every part of a hit of a rank matches at least."""
    if rank == 2 * len(plan.parts):
        return Level.WHOLE
    return Level.START if rank == len(plan.parts) == 1 else Level.INSIDE


def tier_keys(chat_id: int, parts: Sequence[Part], level: Level) -> list[str]:
    """Return the keys that a block needs to hold parts at a level, for one reading of each."""
    wanted = [(part.inside, part.start, part.whole)[level] for part in parts]
    return gram_keys(chat_id, {gram for form in wanted for gram in part_grams(form)})
