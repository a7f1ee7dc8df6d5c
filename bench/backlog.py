"""How much is accepted and not stored, stored and not indexed, over time."""

import time

from redis import Redis

from bench.running_stack import wait_until
from bench.stack import BenchStack
from bench.tools import BenchError
from bench.watch import Watch
from contract.keys import ACCEPTED

STORED_SECONDS = 300
QUEUES = "SELECT (SELECT count(*) FROM search_outbox) + (SELECT count(*) FROM search_queue)"


class Backlog(Watch):
    """The length of the stream, looked at every second while the block runs, and at its end."""

    def __init__(self, client: Redis, every: float = 1.0) -> None:
        super().__init__(every)
        self.client = client
        self.points: list[tuple[float, float]] = []
        self._began = time.monotonic()

    def look(self) -> None:
        at = time.monotonic() - self._began
        self.points.append((at, float(self.client.xlen(ACCEPTED))))

    def drain_rate(self) -> float:
        """Entries a second from the first batch taken out to the last.

        Raises BenchError if that was too fast to be seen.
        """
        full = self.points[0][1]
        draining = [point for point in self.points if point[1] < full]
        began, first = draining[0]
        ended = next(at for at, length in draining if length == 0)
        if first == 0:
            raise BenchError(f"{full:,.0f} entries were stored between two looks")
        return first / (ended - began)


def wait_until_stored(stack: BenchStack) -> None:
    """Wait until nothing that was accepted waits to be stored."""
    with stack.redis() as client:
        wait_until(lambda: client.xlen(ACCEPTED) == 0, STORED_SECONDS, "the backlog is not stored")


def messages_stored(stack: BenchStack) -> int:
    """How many messages are counted, which is how many are stored."""
    with stack.database() as connection:
        row = connection.execute("SELECT coalesce(sum(message_count), 0) FROM chats").fetchone()
    return int(row[0]) if row else 0


def waiting_for_index(stack: BenchStack) -> int:
    """How many changes are not folded, or not in Elasticsearch, yet."""
    with stack.database() as connection:
        row = connection.execute(QUEUES).fetchone()
    return int(row[0]) if row else 0
