"""Both OpenAPI documents describe the running stack, on which their examples exist.

The other phases of schemathesis belong to the tests of each service, which take the same documents.
Only theirs of crud_service leave out the random requests, which are here.
"""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from crud_service.schema.openapi.examples import TOKEN
from tests.hostile.conftest import Ground

CONFIG = Path(__file__).parents[1] / "schemathesis.toml"
HOOKS = {
    "crud": "tests.integration.crud.crud_schemathesis",
    "numbering": "tests.integration.numbering.numbering_schemathesis",
}
PYTHONPATH = {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture(scope="module")
def example(ground: Ground) -> None:
    """An application under the token that the documents show, with a chat and a message."""
    application = ground.api.application("Support")
    ground.api.message(ground.api.chat(application), "Hello!")
    ground.api.wait_for_numbers(f"{application}/chats/1/messages", [1])
    with psycopg.connect(ground.stack.environment["DATABASE_URL"], autocommit=True) as connection:
        taken = "UPDATE applications SET access_token = %s WHERE access_token = %s"
        connection.execute(taken, (f"{TOKEN[:20]}{os.urandom(2).hex()}", TOKEN))
        connection.execute(taken, (TOKEN, application.rpartition("/")[2]))


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    ("service", "phases", "operations"),
    [
        ("crud", "examples,fuzzing", "19 selected / 21 total"),
        ("numbering", "examples", "6 selected / 6 total"),
    ],
)
def test_schemathesis_finds_no_fault(
    ground: Ground, tmp_path: Path, service: str, phases: str, operations: str
) -> None:
    url = ground.crud if service == "crud" else ground.numbering
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run"]
    command += [f"{url}/openapi.json", "--checks=all", "--max-examples=3", "--seed=3"]
    command += [f"--phases={phases}", "--generation-database=none", "--no-color"]
    command += ["--suppress-health-check=all"]
    run = subprocess.run(
        command,
        env={
            **os.environ,
            **PYTHONPATH,
            "SCHEMATHESIS_HOOKS": HOOKS[service],
            "CRUD_DATABASE_URL": ground.stack.environment["DATABASE_URL"],
        },
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=840,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-500:]
    assert operations in run.stdout
