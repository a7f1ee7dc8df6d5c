"""The command as operators run it: pipes, full disks, Ctrl-C and SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest

from tests.children import child
from tests.integration.crud_rows import Database
from tests.integration.transfer.carried import TABLES, import_file, rows, write
from tests.polling import wait_until

COMMAND = (sys.executable, "-m", "crud_service.manage", "import_application")
TIMES = {"created_at": "2022-08-09T22:17:52.599Z", "updated_at": "2022-08-09T22:17:52.599Z"}
MESSAGES = 5000
LINES = [
    {"type": "application", "name": "An import", **TIMES},
    {"type": "chat", "number": 1, **TIMES},
    *({"type": "message", "number": 1 + i, "body": f"{i}", **TIMES} for i in range(MESSAGES)),
    {"type": "end", "chats": 1, "messages": MESSAGES},
]
EXPORT = [json.dumps(line).encode() for line in LINES]
NOTHING = {name: [(0,)] for name in (*TABLES, "total")}
# COMMIT waits a while for this trigger; `{caught}` is what it does when it is cancelled.
WAIT_AT_COMMIT = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(60);
    RETURN NULL;
{caught}
END $$;
CREATE CONSTRAINT TRIGGER waiting AFTER UPDATE ON applications DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.access_token NOT LIKE '~%') EXECUTE FUNCTION wait_at_commit()
"""
END_OF_WAITING = "DROP TRIGGER waiting ON applications; DROP FUNCTION wait_at_commit()"
IS_COMMITTING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'import' AND wait_event = 'PgSleep'
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return write(tmp_path / "export.ndjson", EXPORT)


@contextmanager
def waiting_at_commit(database: Database, caught: str) -> Iterator[None]:
    database.execute(WAIT_AT_COMMIT.format(caught=caught))
    try:
        yield
    finally:
        database.execute(END_OF_WAITING)


def test_a_named_pipe_is_read(http: httpx.Client, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write, args=(pipe, EXPORT))
    writer.start()
    imported = import_file(pipe)
    writer.join()
    assert http.get(f"{imported}/chats/1").json()["message_count"] == MESSAGES


def test_a_token_that_cannot_be_printed_is_in_the_error(
    http: httpx.Client, clean_crud: dict[str, str], exported: Path
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, str(exported)], stdout=full, stderr=PIPE, text=True, check=False
        )
    assert done.returncode != 0
    (application,) = http.get("/applications").json()
    assert f"was imported, its access token is {application['access_token']}\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_leaves_nothing(
    interruptible: None, database: Database, clean_crud: dict[str, str], number: signal.Signals
) -> None:
    with child([*COMMAND, "-"], stdin=PIPE, stderr=PIPE) as importing:
        importing.stdin.write(b"\n".join(EXPORT[:-1]))
        importing.stdin.flush()
        wait_until(lambda: rows(database)["messages"] != [(0,)], 60)
        importing.send_signal(number)
        _, errors = importing.communicate(timeout=60)
    assert importing.returncode == 128 + number
    assert errors == b"CommandError: interrupted; nothing was imported\n"
    assert rows(database) == NOTHING


@pytest.mark.parametrize(
    ("caught", "returncode"),
    [("EXCEPTION WHEN query_canceled THEN RETURN NULL;", 0), ("", 128 + signal.SIGTERM)],
    ids=["too late", "in time"],
)
def test_an_interrupted_commit_loses_no_token(
    http: httpx.Client, database: Database, exported: Path, caught: str, returncode: int
) -> None:
    with (
        waiting_at_commit(database, caught),
        child([*COMMAND, str(exported)], stdout=PIPE, stderr=PIPE) as importing,
    ):
        wait_until(lambda: database.execute(IS_COMMITTING).fetchone() == (1,), 60)
        importing.send_signal(signal.SIGTERM)
        printed, _ = importing.communicate(timeout=60)
    assert importing.returncode == returncode
    tokens = [application["access_token"] for application in http.get("/applications").json()]
    assert printed.decode().split() == tokens
    if not tokens:
        assert rows(database) == NOTHING


def test_an_interruption_after_the_last_commit_loses_no_token(
    http: httpx.Client, clean_crud: dict[str, str], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.operators.management.commands.import_application import Progress

    monkeypatch.setattr(Progress, "__exit__", lambda *_: signal.raise_signal(signal.SIGTERM))
    imported = import_file(exported)
    assert http.get(f"{imported}/chats/1").json()["message_count"] == MESSAGES
