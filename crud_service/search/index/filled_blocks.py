"""The blocks of a chat that have texts, in SQL: for covering them, and for scanning the rest."""

# From `first` to `last`, in their order. Each step looks the next one up in the index, so the cost
# follows the texts, whatever gaps there are between numbers.
FILLED_BLOCKS = """
WITH RECURSIVE filled (block) AS (
    SELECT {first} - 1
    UNION ALL
    SELECT (
        SELECT (number - 1) / 64 FROM search_texts
        WHERE chat_id = %(chat_id)s AND number > filled.block * 64 + 64 ORDER BY number LIMIT 1
    )
    FROM filled WHERE filled.block < {last}
)
SELECT block FROM filled WHERE block BETWEEN {first} AND {last}
"""
