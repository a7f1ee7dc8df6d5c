"""Imports killed at random instants: the application is there as a whole, or not at all."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chats, add_messages
from tests.integration.transfer.carried import export, import_file, rows, without_token, write
from tests.killing import kill_after
from tests.line_program import LineProgram
from tests.polling import wait_until

KILLS = 30
IMPORTING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'import'"
SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))


@pytest.fixture
def exported(
    http: httpx.Client, database: Database, application: str, tmp_path: Path
) -> tuple[Path, list[bytes]]:
    add_chats(database, application, 40)
    for chat in range(1, 41, 4):
        add_messages(database, application, 50, f"message of {chat} ✓", chat=chat)
    lines = export(http, application)
    return write(tmp_path / "export.ndjson", lines), lines


@pytest.fixture
def killer(clean_crud: dict[str, str]) -> Iterator[LineProgram]:
    module = "tests.integration.transfer.killed_imports"
    with LineProgram(module, clean_crud, stderr=subprocess.DEVNULL) as program:
        yield program


@pytest.mark.timeout(240)
def test_a_killed_import_leaves_the_whole_application_or_nothing(
    http: httpx.Client, database: Database, exported: tuple[Path, list[bytes]], killer: LineProgram
) -> None:
    path, lines = exported
    chance = random.Random(SEED)
    started = time.monotonic()
    import_file(path)
    seconds = time.monotonic() - started
    complete = 2
    for _ in range(KILLS):
        kill_after(chance.uniform(0, seconds * 1.2), killer, path)
        # What was sent before the kill may be committed a moment later.
        wait_until(lambda: database.execute(IMPORTING).fetchone() == (0,), 60)
        listed = len(http.get("/applications").json())
        assert listed in {complete, complete + 1}, f"FAULT_SEED={SEED}"
        complete = listed
    # The next one removes what the killed ones left behind.
    import_file(path)
    complete += 1
    found = rows(database)
    assert found["applications"] == found["total"] == [(complete,)]
    assert found["messages"] == [(complete * 500,)]
    for application in http.get("/applications").json():
        again = export(http, f"/applications/{application['access_token']}")
        assert without_token(again) == without_token(lines), f"FAULT_SEED={SEED}"
