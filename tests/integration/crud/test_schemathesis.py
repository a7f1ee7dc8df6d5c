"""The OpenAPI document is correct: schemathesis, with all its checks, against a running service."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crud_service.schema.openapi import examples
from local_stack.applications import ROOT
from tests.integration.conftest import CrudServer
from tests.integration.crud_rows import Database, add_chat_of

CONFIG = Path(__file__).parents[2] / "schemathesis.toml"
ADMIN_TOKEN = "token-of-the-admin"
HOOKS = {
    "SCHEMATHESIS_HOOKS": "tests.integration.crud.crud_schemathesis",
    "PYTHONPATH": str(ROOT),
}


@pytest.mark.timeout(900)
def test_schemathesis_finds_no_fault(
    crud_server: Callable[..., CrudServer],
    clean_crud: dict[str, str],
    database: Database,
    application: str,
    tmp_path: Path,
) -> None:
    """The examples of the document exist, so that it gets more than 404s."""
    add_chat_of(database, application, 20, "a message to be found")
    database.execute("UPDATE applications SET access_token = %s", (examples.TOKEN,))
    server = crud_server(ADMIN_TOKEN=ADMIN_TOKEN, LOG_LEVEL="ERROR")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run"),
            f"{server.url}/openapi.json",
            *("--checks=all", "--phases=examples,coverage"),
            *(
                "--seed=1",
                "--generation-database=none",
                "--suppress-health-check=all",
                "--no-color",
            ),
            f"--header=Authorization: Bearer {ADMIN_TOKEN}",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **HOOKS, "CRUD_DATABASE_URL": clean_crud["DATABASE_URL"]},
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert "19 selected / 21 total" in run.stdout
