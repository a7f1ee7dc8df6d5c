"""One attempt to send what is queued to Elasticsearch, and the back-off after one that failed."""

import logging
import time
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from elasticsearch import ApiError, SerializationError, TransportError

from crud_service.search.feed.bulk import MOST_CHARACTERS, IndexGone
from crud_service.search.feed.queue import Throttled, index_queued, is_queue_empty
from crud_service.stores.database import Connection, in_one_line

logger = logging.getLogger(__name__)

MAX_BACK_OFF_SECONDS = 1.0

INDEX_IS_MISSING = "SELECT EXISTS (SELECT FROM search_state WHERE index_format = 0)"


@dataclass(slots=True)
class BackOff:
    """The exponential back-off after a failure of Elasticsearch."""

    seconds: float = 0.0
    until: float = 0.0

    def failed(self) -> None:
        self.seconds = min(MAX_BACK_OFF_SECONDS, self.seconds * 2 or 0.25)
        self.until = time.monotonic() + self.seconds

    def succeeded(self) -> None:
        self.seconds = self.until = 0.0

    def remaining(self) -> float:
        return max(0.0, self.until - time.monotonic())


@cache
def back_off_of(server: str) -> BackOff:
    """Return the back-off that all threads share for an address of Elasticsearch."""
    return BackOff()


def feed_once(connection: Connection, woken_by: str = "") -> bool:
    """Send one batch, unless in back-off after a failure; return whether anything was sent."""
    back_off = back_off_of(settings.ELASTICSEARCH_URL)
    if back_off.remaining():
        return False
    try:
        sent = index_queued(connection)
    except (ApiError, TransportError, IndexGone, Throttled) as error:
        back_off.failed()
        logger.warning("indexing waits for Elasticsearch", extra={"reason": describe(error)})
        return False
    back_off.succeeded()
    if sent:
        logger.info(
            "documents sent to Elasticsearch", extra={"entries": sent, "woken_by": woken_by}
        )
    return sent > 0


def has_something_to_send(connection: Connection) -> bool:
    """Return whether changes are queued, or the index is missing."""
    if not is_queue_empty(connection):
        return True
    ((is_missing,),) = connection.execute(INDEX_IS_MISSING).fetchall()
    return bool(is_missing)


def describe(error: Exception) -> str:
    """Describe an error in one short line, without an answer that cannot be read."""
    if isinstance(error, SerializationError):
        return type(error).__name__
    return in_one_line(error)[:MOST_CHARACTERS]
