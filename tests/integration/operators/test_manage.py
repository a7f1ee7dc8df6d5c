"""Management commands that cannot reach PostgreSQL report it in one line."""

import os
import subprocess
import sys

import pytest

from local_stack.applications import ROOT
from local_stack.ports import choose_port


def manage(database_url: str, *command: str) -> tuple[int, str]:
    """Return the exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "crud_service.manage", *command],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "LOCAL_STACK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_rejected_password_is_explained_in_one_line(database_url: str) -> None:
    user, _, rest = database_url.rpartition("@")
    code, said = manage(f"{user.rpartition(':')[0]}:another-one@{rest}", "migrate", "--noinput")
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: PostgreSQL rejects the password of DATABASE_URL.")
    assert "another-one" not in line


@pytest.mark.parametrize("command", ["migrate", "check_index"], ids=["by Django", "by psycopg"])
def test_an_unreachable_server_is_named_in_one_line(command: str) -> None:
    port = choose_port()
    code, said = manage(f"postgresql://postgres@127.0.0.1:{port}/chat", command)
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: PostgreSQL cannot be reached: ")
    assert f"port {port}" in line
