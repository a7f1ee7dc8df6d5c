"""PostgreSQL servers of a test's own, and standbys that lag when a test wants them to."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import psycopg

from local_stack.layout import Layout
from local_stack.ports import choose_port
from local_stack.process import Running
from local_stack.stores.postgres import can_connect, postgres, program
from local_stack.stores.standby import copy_primary
from local_stack.stores.store_user import store_user
from tests.fault.rig.linked_stack import with_port
from tests.polling import wait_until

CAUGHT_UP_SECONDS = 60


class Server:
    """PostgreSQL on a data directory of the test's own; `url` leads to one database in it."""

    def __init__(self, directory: Path, url: str, port: int = 0) -> None:
        """`url` is that of a database with the same name and password."""
        self.layout = Layout(directory)
        self.layout.create()
        self.home = self.layout.directory / "postgres"
        self.port = port or choose_port()
        self.password = urlsplit(url).password or ""
        self.url = with_port(url, self.port)
        self.running: Running | None = None

    def take(self, data: Path) -> None:
        """Use a copy of a server's data."""
        self.home.mkdir(exist_ok=True)
        data.rename(self.home / "data")

    def start(self) -> None:
        """Start it, on data of its own if it has none, and wait until it takes connections."""
        part = postgres(self.layout, self.port, self.password)
        for path in (self.home, *self.home.rglob("*")):
            part.user.give(path)
        self.running = Running(part, self.layout)
        any_database = self.url.rpartition("/")[0] + "/postgres"
        wait_until(lambda: can_connect(any_database), CAUGHT_UP_SECONDS, self.log)

    def log(self) -> str:
        return (self.layout.logs / "postgres.log").read_text()[-2000:]

    def kill(self) -> None:
        """kill -9 all of its processes, as the loss of its machine would."""
        assert self.running is not None
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it served one connection
                process.kill()
        self.running.process.wait()
        psutil.wait_procs(processes)
        self.running = None

    def _processes(self) -> list[psutil.Process]:
        assert self.running is not None
        first = psutil.Process(self.running.process.pid)
        return [first, *first.children()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP all of its processes for the time of the block."""
        frozen = self._processes()
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in frozen:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement; return its rows, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


class Standby(Server):
    """A streaming standby of the server at a URL, made by pg_basebackup."""

    def __init__(self, directory: Path, primary_url: str, name: str = "standby") -> None:
        super().__init__(directory, primary_url)
        self.primary_url = primary_url
        user = store_user(program("postgres"), self.layout.directory)
        copy_primary(user.own(self.home), primary_url, user, name)

    def pause(self) -> None:
        """Replay nothing from now on."""
        self.execute("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        wait_until(lambda: self.execute(state) == [("paused",)], CAUGHT_UP_SECONDS)

    def resume(self) -> None:
        """Go on replaying."""
        self.execute("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Wait until it has what the primary has by now."""
        with psycopg.connect(self.primary_url, autocommit=True) as connection:
            [(position,)] = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()
        query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: self.execute(query, position) == [(True,)], CAUGHT_UP_SECONDS, self.log)

    @contextmanager
    def lagging(self) -> Iterator[None]:
        """Have it lag for the time of the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()
