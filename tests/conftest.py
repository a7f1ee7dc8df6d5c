"""Fixtures: real stores, and whole real stacks. Nothing is imitated.

Stores, started once a session and shared (PostgreSQL, Valkey, Elasticsearch):

    stores                  `.environment` with DATABASE_URL, REDIS_URL, ELASTICSEARCH_URL;
                            `.supervisor` and `.layout` for the parts themselves
    database_url            a database of the test's own, empty
    migrated_database_url   a database of the test's own, with our tables
    redis_url               a database number of Valkey, emptied for the test
    elasticsearch_url       the server, started by the first test that asks for it; where it
                            can't be had the test is skipped with a loud line, or fails
                            when CI=true
    crud                    Django, set up in this process on one migrated database, without
                            Elasticsearch (session); sets the environment variables of SPEC's
                            settings
    clean_crud              the same, with all of our tables and Valkey's database emptied

A whole stack of its own (every process, as `make run` starts them):

    stack                   a `bench.running_stack.RunningStack` for the session:
                            .crud_url .numbering_url .environment .pid(name)
                            .send(name, signal) .kill(name) -> new pid .wait_replaced(...)
                            names: postgres valkey elasticsearch crud worker numbering
    api                     `tests.api_client.Api` on `stack`: application(), chat(), message() …
    client                  an httpx.Client that follows no redirect and uses no proxy

For commands that a test starts:

    interruptible           nothing: Ctrl-C ends them

Whatever kills or freezes a part leaves the stack as it found it: alive and ready.
Data lies in `.local-test/<pid>/`, one directory a session, so sessions may run
side by side and beside a `make run`; it is removed when all tests passed.
"""

import fcntl
import gc
import itertools
import os
import random
import shutil
import signal
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import hypothesis
import psutil
import psycopg
import pytest
import redis
from xdist.remote import Producer

from bench.running_stack import RunningStack
from local_stack.applications import ROOT, migrate
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Settings, Stores
from local_stack.stores.elasticsearch import is_green_enough
from local_stack.stores.postgres import create_database
from tests.api_client import Api
from tests.polling import wait_until
from tests.scheduling import LongestFirst, Recorder, recorded_seconds

# A busy machine may stand still for longer than any example takes.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name()),
    deadline=None,
)
hypothesis.settings.load_profile("patient")

KINDS = (
    "unit",
    "contract",
    "integration",
    "end_to_end",
    "clients",
    "live",
    "tenants",
    "fault",
    "hostile",
)
DATA = ROOT / ".local-test"
SESSION = DATA / str(os.getpid())
# One for all processes that run the session's tests.
SEED = int(os.environ.setdefault("FAULT_SEED", str(random.SystemRandom().randrange(10**6))))
INTERNAL_TOKEN = "internal-token-of-the-tests"
# An Elasticsearch of the tests hardly gets to run what the better compiler of the JVM makes.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
# What `make compiled` has left is not what is tested, except by `make test-compiled`.
os.environ.setdefault("COMPILED", "0")
# A killed server loses nothing by it: the system keeps what the server has written.
WITHOUT_FSYNC = ("fsync", "full_page_writes")

RunningT = TypeVar("RunningT", bound=RunningStack)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave the garbage collector out: tests stay, and it would look at all of them every time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run quick kinds first, so that a simple mistake is reported within seconds."""
    order = {kind: position for position, kind in enumerate(KINDS)}
    items.sort(key=lambda item: order.get(kind_of(item), len(KINDS)))


def kind_of(item: pytest.Item) -> str:
    parts = item.path.parts
    return next((part for part in parts[::-1] if part in KINDS), "")


def pytest_collection_finish() -> None:
    """Refuse a test module that imports settings: they would be those of no stack."""
    if "crud_service.settings" in sys.modules:
        raise pytest.UsageError(
            "a test module imports crud_service.settings, before any stack is up"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "write how long each file takes to tests/seconds.json, for the order of the next run"
    parser.addoption("--record-seconds", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("record_seconds") and not is_worker(config):
        config.pluginmanager.register(Recorder())


def is_worker(config: pytest.Config) -> bool:
    """Tell the processes that run tests for another one from that other one."""
    return hasattr(config, "workerinput")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst:
    return LongestFirst(config, log, recorded_seconds())


def pytest_sessionstart() -> None:
    """Remove the data of sessions that ended without doing so."""
    for directory in DATA.glob("[0-9]*"):
        if not psutil.pid_exists(int(directory.name)):
            shutil.rmtree(directory, ignore_errors=True)


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep the logs of a session that failed."""
    if exitstatus == 0:
        shutil.rmtree(SESSION, ignore_errors=True)


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """PostgreSQL, Valkey and Elasticsearch, one of each for the session."""
    running = Stores(Settings(SESSION / "stores", elasticsearch_later=True))
    running.prepare()
    try:
        running.start()
        stop_fsync(running.environment["DATABASE_URL"])
        yield running
    finally:
        running.stop()


def stop_fsync(url: str) -> None:
    """Have PostgreSQL leave writing to the system: tests create and empty tables all the time."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in WITHOUT_FSYNC:
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def elasticsearch_start() -> Iterator[None]:
    """One Elasticsearch of all processes starts at a time: four at once take several minutes."""
    DATA.mkdir(exist_ok=True)
    with (DATA / "elasticsearch.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def started(stack: RunningT) -> Iterator[RunningT]:
    """A stack with Elasticsearch, which ends with the block."""
    with elasticsearch_start():
        stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def migrated_template(stores: Stores) -> str:
    """Name of a database with our tables, which PostgreSQL copies in milliseconds."""
    url = in_database(stores, "template_migrated")
    create_database(url)
    migrate(stores.layout, {**stores.environment, "DATABASE_URL": url, "LOCAL_STACK": "1"})
    return "template_migrated"


@pytest.fixture
def database_url(stores: Stores) -> Iterator[str]:
    with own_database(stores, "template1") as url:
        yield url


@pytest.fixture
def migrated_database_url(stores: Stores, migrated_template: str) -> Iterator[str]:
    with own_database(stores, migrated_template) as url:
        yield url


@contextmanager
def own_database(stores: Stores, template: str) -> Iterator[str]:
    """A database made from a template, dropped afterwards with the connections still in it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    server = in_database(stores, "postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield in_database(stores, name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def in_database(stores: Stores, name: str) -> str:
    """The URL of another database of the session's PostgreSQL."""
    return stores.environment["DATABASE_URL"].rpartition("/")[0] + f"/{name}"


# Number 0 belongs to `crud`; the others take turns.
REDIS_NUMBERS = itertools.cycle(range(1, 16))


@pytest.fixture
def redis_url(stores: Stores) -> str:
    url = stores.environment["REDIS_URL"].removesuffix("/0") + f"/{next(REDIS_NUMBERS)}"
    empty_redis(url)
    return url


def empty_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()


@pytest.fixture(scope="session")
def elasticsearch_url(stores: Stores) -> str:
    with elasticsearch_start():
        stores.start_elasticsearch()
        stores.wait_for_elasticsearch()
    url = stores.environment["ELASTICSEARCH_URL"]
    if url and is_green_enough(url):
        return url
    reason = f"NO ELASTICSEARCH: {stores.why_no_elasticsearch or 'it does not start'}"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def crud(stores: Stores, migrated_template: str) -> Iterator[dict[str, str]]:
    """Django in this process, on one migrated database; yields the environment it got."""
    with own_database(stores, migrated_template) as url:
        environment = {
            **stores.environment,
            "DATABASE_URL": url,
            # Its client takes half a second of each process that a test starts.
            "ELASTICSEARCH_URL": "",
            "INTERNAL_TOKEN": INTERNAL_TOKEN,
            "LOCAL_STACK": "1",
            "DJANGO_SETTINGS_MODULE": "crud_service.settings",
        }
        os.environ.update(environment)
        import django

        django.setup()
        yield environment
        from django.db import connections

        connections.close_all()


@pytest.fixture
def clean_crud(crud: dict[str, str]) -> dict[str, str]:
    """`crud` with nothing in its tables and nothing in Valkey."""
    empty_tables(crud["DATABASE_URL"])
    empty_redis(crud["REDIS_URL"])
    return crud


def empty_tables(url: str) -> None:
    """Empty all of our tables in a migrated database."""
    query = "SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables "
    query += "WHERE schemaname = 'public' AND tablename !~ '^(django|auth|search)_'"
    # Emptied by triggers when the tables they follow are: not to be truncated beside those.
    query += " AND tablename <> 'application_totals'"
    with psycopg.connect(url, autocommit=True) as connection:
        ((tables,),) = connection.execute(query).fetchall()
        truncate = f"TRUNCATE {tables} RESTART IDENTITY CASCADE"
        # A worker that a module's tests share may lock the same tables in another order.
        wait_until(lambda: is_executed(connection, truncate), 60)


def is_executed(connection: psycopg.Connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except psycopg.errors.DeadlockDetected:
        return False
    return True


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """A whole stack, shared by the session's tests."""
    with started(RunningStack(SESSION / "stack")) as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=15, **PLAIN_HTTP, follow_redirects=False) as http:
        yield http


@pytest.fixture
def api(stack: RunningStack, client: httpx.Client) -> Api:
    return Api(client, stack.crud_url, stack.numbering_url)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Start commands that Ctrl-C ends, also where the tests run in a shell's background."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
