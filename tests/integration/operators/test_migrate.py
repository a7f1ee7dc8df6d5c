"""`migrate` beside another one, and after one that was interrupted."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from local_stack.applications import ROOT
from tests.children import kill
from tests.polling import wait_until

# The first table that `migrate` makes in an empty database, after the one of its own records.
OBSTACLE = "CREATE TABLE django_content_type ()"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts `migrate` with options; what it says is in a file of the given name."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *options: str) -> subprocess.Popen[bytes]:
        with (tmp_path / name).open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "crud_service.manage", "migrate", *options],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database_url, "LOCAL_STACK": "1"},
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        kill(process)
        process.wait()


def test_a_second_one_waits_for_the_end_of_the_first(
    database_url: str, start: Start, tmp_path: Path
) -> None:
    with (
        psycopg.connect(database_url) as obstacle,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        obstacle.execute(OBSTACLE)
        first = start("first")
        wait_until(lambda: observer.execute(WAITING).fetchall() == [(1,)], 60)
        second, check = start("second"), start("check", "--check")
        wait_until(lambda: (tmp_path / "second").read_text() != "", 60)
        assert check.wait(60) == 1
        assert second.poll() is None
        obstacle.rollback()
        assert first.wait(60) == second.wait(60) == 0
    said = [(tmp_path / name).read_text() for name in ("first", "second", "check")]
    assert said == ["", "another `migrate` is running: waiting for its end\n", ""]


def test_dates_may_be_written_in_another_style_by_default(
    database_url: str, start: Start, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = psycopg.sql.Identifier(connection.info.dbname)
        connection.execute(psycopg.sql.SQL("ALTER DATABASE {} SET DateStyle = German").format(name))
    assert start("first").wait(60) == 0, (tmp_path / "first").read_text()


def test_one_that_is_cut_off_before_it_records_a_migration_can_be_run_again(
    database_url: str, start: Start, tmp_path: Path
) -> None:
    assert start("records", "contenttypes").wait(60) == 0
    with (
        psycopg.connect(database_url) as obstacle,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        obstacle.execute("LOCK django_migrations IN SHARE MODE")
        cut_off = start("cut off")
        wait_until(lambda: observer.execute(WAITING).fetchall() == [(1,)], 60)
        observer.execute(CUT_OFF)
        assert cut_off.wait(60) == 2
    assert start("again").wait(60) == 0
    assert (tmp_path / "again").read_text() == ""
