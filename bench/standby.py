"""What a standby of PostgreSQL costs those who wait for it, and takes off the primary as a replica.

All servers share the machine and its disk: only ratios within a turn say something.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from bench.backlog import Backlog, wait_until_stored
from bench.cost import Meter
from bench.creation_requests import chat_path
from bench.reads import messages, pages, timed
from bench.reads_data import LIST_CHAT, fill_large
from bench.results import clients_text
from bench.running_stack import wait_until
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import Load, Request, load
from local_stack.layout import Layout
from local_stack.ports import choose_port
from local_stack.stores.postgres import database_url
from local_stack.stores.standby import NAME, WAIT_FOR_ANY, have_commits_wait, sync_state
from local_stack.stores.standby import standby as standby_part

CLIENTS = (16, 1)
IN_STEP_SECONDS = 60
# What the primary is spared of a page, at least.
COST_LEFT = 0.5
RATE_KEPT = 0.5


class Read(NamedTuple):
    """A load of reads, and what each cost the primary."""

    load: Load
    microseconds: float


def standby(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(fresh(run.data("standby"))) as stack:
        fill_large(run, stack)
        with following(stack) as replica_url, stack.during(stack.run("crud")):
            storing(run, stack)
            reading(run, stack, replica_url)
    run.check_failures()


@contextmanager
def following(stack: BenchStack) -> Iterator[str]:
    """A standby of the stack's PostgreSQL that is in step; yields the URL of the database in it."""
    url = stack.environment["DATABASE_URL"]
    layout = Layout(stack.layout.directory / NAME)
    layout.create()
    port = choose_port()
    with stack.during(stack.run_part(standby_part(layout, port, url))):
        wait_until(lambda: sync_state(url) != "", IN_STEP_SECONDS, "the standby does not follow")
        yield database_url(urlsplit(url).password or "", port, url.rpartition("/")[2])


def wait_for_it(stack: BenchStack, *, is_waited_for: bool) -> None:
    """Have commits wait for the standby, or not."""
    url = stack.environment["DATABASE_URL"]
    standbys, wanted = (WAIT_FOR_ANY, "quorum") if is_waited_for else ("", "async")
    have_commits_wait(url, standbys)
    wait_until(lambda: sync_state(url) == wanted, IN_STEP_SECONDS, "the setting has no effect")


def storing(run: Run, stack: BenchStack) -> None:
    """How fast a backlog is stored, and how long an update takes, without waiting and with it."""
    rates: list[tuple[float, float]] = []
    updates: list[tuple[Load, Load]] = []
    with stack.during(stack.run("numbering")):
        for turn in range(run.sizes.rounds):
            kinds = (False, True) if turn % 2 == 0 else (True, False)
            seen = {waited: one_turn(run, stack, waited) for waited in kinds}
            rates.append((seen[False][0], seen[True][0]))
            updates.append((seen[False][1], seen[True][1]))
    add = run.results.add
    for position, kind in enumerate(("no standby waited for", "one standby waited for")):
        add(f"{kind}: stored", median(each[position] for each in rates), "/s")
        loads = [each[position] for each in updates]
        add(f"{kind}: PUT, 1 client: p50", median(each.p50_ms for each in loads), "ms")
        add(f"{kind}: PUT, 1 client: p99", median(each.p99_ms for each in loads), "ms")
    kept = median(waiting / plain for plain, waiting in rates)
    add("one standby waited for: rate of storing kept", kept, "", at_least=RATE_KEPT)


def one_turn(run: Run, stack: BenchStack, is_waited_for: bool) -> tuple[float, Load]:
    wait_for_it(stack, is_waited_for=is_waited_for)
    update = timed(run, stack.crud_url, messages(run), 1, "PUT")
    run.results.count_failures("standby, PUT", update)
    posted = [Request(f"{chat_path(LIST_CHAT)}/messages", '{"body": "one of a backlog"}')]
    seen = load(stack.numbering_url, posted, clients=64, seconds=run.sizes.seconds, method="POST")
    run.results.count_failures("standby, POST", seen)
    with (
        stack.redis() as client,
        Backlog(client, every=0.05) as backlog,
        stack.during(stack.run("worker")),
    ):
        wait_until_stored(stack)
    return backlog.drain_rate(), update


def reading(run: Run, stack: BenchStack, replica_url: str) -> None:
    """Pages and messages from the primary alone, and from the replica."""
    url, crud = stack.run_beside(
        "crud-replica", "crud_service", "CRUD_PORT", DATABASE_READ_URL=replica_url
    )
    kinds = {"page of 100": pages(0, run.sizes.messages - 100), "GET message": messages(run)}
    with stack.during(crud):
        wait_until(lambda: is_up(url), IN_STEP_SECONDS, "the replica is not read")
        for name, requests in kinds.items():
            for clients in CLIENTS:
                turns = [
                    [
                        one_read(run, stack, each, requests, clients)
                        for each in (stack.crud_url, url)
                    ]
                    for _ in range(run.sizes.rounds)
                ]
                report(run, f"{name}, {clients_text(clients)}", turns)


def is_up(url: str) -> bool:
    return "chat_replica_up 1.0" in httpx.get(f"{url}/metrics", trust_env=False).text


def one_read(
    run: Run, stack: BenchStack, url: str, requests: Sequence[Request], clients: int
) -> Read:
    if run.sizes.warm_up:
        load(url, requests, clients=clients, seconds=1)
    meter = Meter({"primary": int((stack.layout.pids / "postgres").read_text())})
    seen = load(url, requests, clients=clients, seconds=max(1, run.sizes.seconds // 2))
    run.results.count_failures("standby, GET", seen)
    return Read(seen, meter.microseconds_each(seen.requests)["primary"])


def report(run: Run, name: str, turns: Sequence[Sequence[Read]]) -> None:
    """The medians of all turns, and of the ratios within each."""
    add = run.results.add
    for position, server in enumerate(("primary", "replica")):
        seen = [turn[position] for turn in turns]
        add(f"{name}, {server}: rate", median(each.load.rate for each in seen), "/s")
        add(f"{name}, {server}: p50", median(each.load.p50_ms for each in seen), "ms")
        add(f"{name}, {server}: primary", median(each.microseconds for each in seen), "µs")
    left = median(turn[1].microseconds / turn[0].microseconds for turn in turns)
    bound = COST_LEFT if name.startswith("page") else None
    add(f"{name}, replica: share of the primary's work left", left, "", at_most=bound)
