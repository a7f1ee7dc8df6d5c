"""A streaming standby of the local PostgreSQL, for which the primary's commits wait."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from psycopg.sql import SQL, Literal

from local_stack.console import Waiting
from local_stack.layout import Layout
from local_stack.ports import LOOPBACK
from local_stack.process import Part
from local_stack.stores.postgres import connected, make_data, postgres, program
from local_stack.stores.store_user import StoreUser, store_user

NAME = "standby"
# How much of the primary's log a standby may miss without being copied anew, as the guide has it.
KEPT = {"wal_keep_size": "1GB"}
WAIT_FOR_ANY = f"ANY 1 ({NAME})"


def copy_primary(home: Path, url: str, user: StoreUser, name: str = NAME) -> None:
    """Copy a running primary to `data` in a directory; a server started there is its standby.

    Args:
        home: the directory, which belongs to the user.
        url: that of a database of the primary.
        user: runs the program that copies.
        name: what the standby calls itself, which `synchronous_standby_names` refers to.

    Raises StackError when it can't be copied.
    """
    make_data(home, user, copy_command(url, name), PGPASSWORD=urlsplit(url).password or "")


def copy_command(url: str, name: str) -> tuple[str, ...]:
    """Return the command without the password, as every user of a machine may read commands."""
    primary = urlsplit(url)
    source = f"host={primary.hostname} port={primary.port} user={primary.username}"
    return (
        str(program("pg_basebackup")),
        f"--dbname={source} application_name={name}",
        "--write-recovery-conf",
        "--checkpoint=fast",
    )


def standby(layout: Layout, port: int, primary_url: str) -> Part:
    """Return a standby as a part; the primary is copied, which has to run, when there is no data.

    Args:
        layout: the stack's directory.
        port: the TCP port.
        primary_url: that of a database of the primary.
    """
    user = store_user(program("postgres"), layout.directory)
    home = user.own(layout.directory / NAME)
    if not (home / "data" / "PG_VERSION").exists():
        Waiting().tell("copying the database")
        copy_primary(home, primary_url, user)
    primary = urlsplit(primary_url)
    # Not what the copy says: the primary's port may be another one in the next run.
    connection = f"host={LOOPBACK} port={primary.port} user=postgres application_name={NAME}"
    password = primary.password or ""
    part = postgres(layout, port, password, NAME, primary_conninfo=connection, **KEPT)
    return replace(part, environment={**part.environment, "PGPASSWORD": password})


def sync_state(primary_url: str) -> str:
    """Return whether commits wait for the standby, `quorum` or `async`; empty if none follows."""
    query = "SELECT sync_state FROM pg_stat_replication WHERE application_name = %s"
    with connected(primary_url) as connection:
        row = connection.execute(query + " AND state = 'streaming'", (NAME,)).fetchone()
    return str(row[0]) if row else ""


def have_commits_wait(primary_url: str, standbys: str = WAIT_FOR_ANY) -> None:
    """Set for which standbys commits of a primary wait; it keeps the setting across restarts."""
    statement = SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
    with connected(primary_url) as connection:
        connection.execute(statement.format(Literal(standbys)))
        connection.execute("SELECT pg_reload_conf()")
