"""Locks held through a link that goes half open are released within moments."""

import os
import subprocess
import sys

import psycopg
import pytest

from local_stack.applications import ROOT
from tests.fault.rig.linked_stack import LinkedStack, with_port

pytestmark = pytest.mark.timeout(240)

HOLDERS = ("command", "crud", "import", "indexer", "worker")
# PostgreSQL notices after ten seconds or eleven; a busy machine adds to that.
FREE_WITHIN = "40s"


def test_a_half_open_link_leaves_nothing_locked(linked: LinkedStack) -> None:
    link, direct = linked.link("worker", "postgres"), linked.environment["DATABASE_URL"]
    environment = linked.environment | {"DATABASE_URL": with_port(direct, link.port)}
    holders = [hold_lock(who, number, environment) for number, who in enumerate(HOLDERS)]
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
        link.half_open()
        with psycopg.connect(direct, options=f"-c lock_timeout={FREE_WITHIN}") as connection:
            for number, _ in enumerate(HOLDERS):
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def hold_lock(who: str, number: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fault.rig.lock_holder", who, str(number)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
