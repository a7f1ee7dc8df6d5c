"""Management commands that cannot reach a store, or are interrupted, say so in one line."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

import psycopg
import pytest
import redis

from local_stack.applications import ROOT
from local_stack.ports import choose_port
from tests.children import child
from tests.polling import wait_until


def manage(database_url: str, *command: str, **environment: str) -> tuple[int, str]:
    """Return the exit code and standard error."""
    return run_python(database_url, "-m", "crud_service.manage", *command, **environment)


def run_python(database_url: str, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "LOCAL_STACK": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_rejected_password_is_explained_in_one_line(database_url: str) -> None:
    user, _, rest = database_url.rpartition("@")
    code, said = manage(f"{user.rpartition(':')[0]}:another-one@{rest}", "migrate", "--noinput")
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: PostgreSQL rejects the password of DATABASE_URL.")
    assert "another-one" not in line


COMMANDS = ("migrate", "check_index", "rebuild_index", "requeue", "reshard", "ensure_admin")
# Most of a command's time goes into importing Django, which these have in common.
IN_TURN = """
import os, sys
import django
from crud_service import manage

os.environ["DJANGO_SETTINGS_MODULE"] = "crud_service.settings"
django.setup()
for command in sys.argv[1:]:
    if not (child := os.fork()):
        sys.argv[1:] = [command]
        sys.exit(manage.main())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"{command} ends with {code}", file=sys.stderr)
"""


def manage_in_turn(
    database_url: str, commands: Sequence[str], **environment: str
) -> dict[str, tuple[int, str]]:
    """Run commands as children of one process; return the exit code and standard error of each."""
    done, said = run_python(database_url, "-c", IN_TURN, *commands, **environment)
    assert done == 0, said
    ended = re.findall(r"(.*?)^(\w+) ends with (-?\d+)\n", said, re.DOTALL | re.MULTILINE)
    return {command: (int(code), error) for error, command, code in ended}


def test_an_unreachable_server_is_named_in_one_line() -> None:
    port = choose_port()
    elsewhere = {"ELASTICSEARCH_URL": f"http://127.0.0.1:{port}", "ADMIN_PASSWORD": "a password"}
    url = f"postgresql://postgres@127.0.0.1:{port}/chat"
    ended = manage_in_turn(url, COMMANDS, **elsewhere)
    assert [*ended] == [*COMMANDS]
    for command, (code, said) in ended.items():
        assert code == 2, command
        (line,) = said.splitlines()
        assert line.startswith("crud_service.manage: PostgreSQL cannot be reached: "), command
        assert f"port {port}" in line, command


def test_an_unreachable_redis_is_named_in_one_line(migrated_database_url: str) -> None:
    with psycopg.connect(migrated_database_url) as connection:
        connection.execute("INSERT INTO shards (size) VALUES (1)")
    port = choose_port()
    elsewhere = {"SHARDS": "2", "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    code, said = manage(migrated_database_url, "reshard", **elsewhere)
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: Redis cannot be reached: ")
    assert f":{port}" in line


def test_a_redis_that_refuses_is_quoted_in_one_line(
    migrated_database_url: str, redis_url: str
) -> None:
    with psycopg.connect(migrated_database_url) as connection:
        connection.execute("INSERT INTO shards (size) VALUES (1)")
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"idempotency:{'a' * 24}::key", "a creation", ex=60)
        limit = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            code, said = manage(migrated_database_url, "reshard", SHARDS="2", REDIS_URL=redis_url)
        finally:
            client.config_set("maxmemory", limit)
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: Redis failed: ")
    assert "maxmemory" in line


def test_an_empty_database_is_explained_in_one_line(database_url: str) -> None:
    nowhere = {"ELASTICSEARCH_URL": "http://127.0.0.1:9", "ADMIN_PASSWORD": "a password"}
    ended = manage_in_turn(database_url, COMMANDS[1:], **nowhere)
    assert [*ended] == [*COMMANDS[1:]]
    explained = "crud_service.manage: the database is not migrated, run `migrate` first"
    for command, (code, said) in ended.items():
        assert code == 2, command
        (line,) = said.splitlines()
        assert line.startswith(explained), command


def test_a_server_that_takes_no_writes_is_quoted_in_one_line(migrated_database_url: str) -> None:
    with psycopg.connect(migrated_database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    writing = ("ensure_admin", "reshard")
    ended = manage_in_turn(migrated_database_url, writing, ADMIN_PASSWORD="a password")
    assert [*ended] == [*writing]
    for command, (code, said) in ended.items():
        assert code == 2, command
        (line,) = said.splitlines()
        assert line.startswith("crud_service.manage: PostgreSQL failed: cannot execute INSERT")


AS_A_WORKER = """
from crud_service.worker.child import harden_database
from django.db import connection
harden_database()
connection.ensure_connection()
"""


@pytest.mark.parametrize("command", [("requeue",), ("shell", "-c", AS_A_WORKER)])
def test_what_the_url_demands_of_a_connection_is_demanded(
    migrated_database_url: str, command: tuple[str, ...]
) -> None:
    assert manage(f"{migrated_database_url}?sslmode=disable", *command)[0] == 0
    code, said = manage(f"{migrated_database_url}?sslmode=require", *command)
    assert code == 2
    assert "server does not support SSL" in said


def test_a_url_may_name_several_servers(migrated_database_url: str) -> None:
    user, _, rest = migrated_database_url.rpartition("@")
    elsewhere = f"{user}@127.0.0.1:{choose_port()},{rest}?target_session_attrs=read-write"
    assert manage(elsewhere, "requeue") == (0, "")


CUT_OFF = """
from django.db import connection
connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")
"""


def test_a_connection_lost_in_the_middle_is_explained_in_one_line(database_url: str) -> None:
    code, said = manage(database_url, "shell", "-c", CUT_OFF)
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith("crud_service.manage: PostgreSQL failed: terminating connection")


INTERRUPTED = "crud_service.manage: interrupted; it can be run again"
IS_HELD_UP = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"


@pytest.mark.parametrize(
    ("command", "number", "obstacle"),
    [
        ("reshard", signal.SIGINT, "shards"),
        ("requeue", signal.SIGINT, "set_aside_entries"),
        ("migrate", signal.SIGINT, "django_migrations"),
        ("check_index", signal.SIGINT, "messages"),
        ("check_index", signal.SIGTERM, "messages"),
    ],
)
def test_an_interrupted_command_says_that_it_can_be_run_again(
    interruptible: None,
    migrated_database_url: str,
    command: str,
    number: signal.Signals,
    obstacle: str,
) -> None:
    environment = os.environ | {"DATABASE_URL": migrated_database_url, "LOCAL_STACK": "1"}
    with (
        psycopg.connect(migrated_database_url) as holding_it_up,
        psycopg.connect(migrated_database_url, autocommit=True) as observer,
        child(
            [sys.executable, "-m", "crud_service.manage", command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        holding_it_up.execute(f"LOCK TABLE {obstacle}")
        wait_until(lambda: observer.execute(IS_HELD_UP).fetchall() == [(True,)], 60)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()) == (128 + number, [INTERRUPTED])
