"""Two pieces of work on connections of their own, taking turns as a test wants it.

Each stops before every statement, before each commit, and wherever else it calls
`Actor.pause`. An actor that waits for a lock of the other one counts as stopped: it goes
on by itself once it has the lock.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg

PATIENCE_SECONDS = 30
current = threading.local()


def pause() -> None:
    """Stop here, if an actor is running this."""
    actor = getattr(current, "actor", None)
    if actor is not None:
        actor.pause()


class Stepped:
    """A connection that stops before each statement and each commit, or before one statement."""

    def __init__(self, connection: psycopg.Connection[Any], only: str = "") -> None:
        self._connection = connection
        self._only = only

    def stopping_before(self, statement: str) -> Self:
        """The same connection, stopping before this statement alone."""
        return type(self)(self._connection, statement)

    def execute(self, *arguments: Any) -> psycopg.Cursor[Any]:
        if self._only in ("", arguments[0]):
            pause()
        return self._connection.execute(*arguments)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            yield
            if not self._only:
                pause()

    @property
    def closed(self) -> bool:
        return self._connection.closed


class Actor:
    """Some work, in a thread."""

    def __init__(self, url: str, work: Callable[[Any], object]) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._watch = psycopg.connect(url, autocommit=True)
        self._work = work
        self._may_go = threading.Semaphore(0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stops = 0
        self.done = False
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while not self.done and self._thread.is_alive():
            self._may_go.release()
            self._thread.join(0.01)
        self._connection.close()
        self._watch.close()

    def _run(self) -> None:
        current.actor = self
        try:
            self.pause()
            self._work(Stepped(self._connection))
        except BaseException as error:
            self.error = error
        finally:
            self.done = True
            self._stopped.set()

    def pause(self) -> None:
        self.stops += 1
        self._stopped.set()
        self._may_go.acquire()

    def step(self) -> None:
        """Go on to the next stop, to the end, or until it waits for a lock."""
        if self.done:
            return
        if self._stopped.wait(0.001):
            self._stopped.clear()
            self._may_go.release()
        for _ in range(PATIENCE_SECONDS * 200):
            if self._stopped.wait(0.005) or self._waits():
                return
        raise TimeoutError("an actor neither stops nor waits for a lock")

    def _waits(self) -> bool:
        query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
        row = self._watch.execute(query, (self._connection.info.backend_pid,)).fetchone()
        return bool(row and row[0])


def take_turns(
    url: str,
    works: Sequence[Callable[[Any], object]],
    turns: Sequence[tuple[int, int]],
    between: Callable[[], object] = lambda: None,
) -> list[BaseException]:
    """Let actors go so many steps each, in turn, then all to their ends; tells what failed.

    `between` is called once, where the first of them has stopped.
    """
    first, second = works
    with Actor(url, first) as one, Actor(url, second) as other:
        actors = [one, other]
        for actor in actors:
            assert actor._stopped.wait(PATIENCE_SECONDS)
        for turn, (number, steps) in enumerate(turns):
            if turn == 1:
                between()
            for _ in range(steps):
                if actors[number].done:
                    break
                before = actors[number].stops
                actors[number].step()
                if actors[number].stops == before:
                    break  # it waits for the other one
        while not all(actor.done for actor in actors):
            for actor in actors:
                actor.step()
        return [actor.error for actor in actors if actor.error]
