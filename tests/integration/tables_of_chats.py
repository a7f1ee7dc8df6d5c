"""Which tables belong to chats, and which statements of the hot paths are about all chats.

A table that is new belongs to one of the two sets; a statement that finds rows of the first set by
anything but their chat is named below, with the reason.
"""

import re

from crud_service.monitoring.store_metrics import POSTGRESQL
from crud_service.search.feed import indexer, outbox, queue
from crud_service.search.feed.fair import LIST

# Divided by `chat_id`, if at all.
OF_CHATS = {
    "messages",
    "search_blocks",
    "search_chats",
    "search_outbox",
    "search_queue",
    "search_texts",
}

# Kept in one piece, or as a whole on every server.
UNDIVIDED = {
    "application_totals": "the number of all applications",
    "applications": "a row for thousands of messages",
    "chats": "a row for a thousand messages; it says which id a chat has",
    "conflicts": "few; of entries, which have the token and number of a chat that may not exist",
    "deleted_applications": "of applications",
    "deletions": "few; the eraser takes the oldest of each application",
    "rotations": "of applications",
    "search_failures": "few; operators look at those of all chats",
    "search_refold": "one row",
    "search_state": "one row",
    "set_aside_entries": "few; of entries, like conflicts",
    "shards": "one row",
}
# The admin site's and Django's own.
FOREIGN = ("auth_", "django_")


def shape(statement: str) -> str:
    """Return a statement without names of parameters and line breaks, as sent or as logged."""
    return " ".join(re.sub(r"%\(\w+\)[sb]|%[sb]|\$\d+", "?", statement).split())


_LISTED = "which applications have something waiting"
_PICKED = "the oldest changes of each application, whatever their chats"
_COUNTED = "how much waits, and since when"
# By the table and the statement: why it does not name the chat.
OF_ALL_CHATS = {
    (table, shape(statement)): reason
    for table, statement, reason in (
        ("search_outbox", LIST.format(table="search_outbox"), _LISTED),
        ("search_outbox", outbox.READ, _PICKED),
        ("search_outbox", indexer.LOOK, "whether anything waits to be folded"),
        ("search_queue", LIST.format(table="search_queue"), _LISTED),
        ("search_queue", queue.READ, _PICKED),
        ("search_queue", queue.IS_EMPTY, "whether anything waits to be sent"),
        ("search_outbox", POSTGRESQL, _COUNTED),
        ("search_queue", POSTGRESQL, _COUNTED),
        ("search_texts", POSTGRESQL, "how many texts are still to be folded again"),
    )
}
