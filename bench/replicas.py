"""What creations cost when a replica has to have them on disk too, in turns within one run.

One Valkey, with a replica in either case, and two numbering services on it: one waits for
the replica, the other does not. All of them share the machine, and its disk.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from redis import Redis

from bench.creation_requests import chat_requests, empty, post_warm
from bench.results import clients_text
from bench.running_stack import wait_until
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import Load
from local_stack.ports import LOOPBACK, choose_port
from local_stack.process import Part
from local_stack.stores.valkey import answers, redis_url, server_command

CLIENTS = (64, 16, 1)
# Of the rate without acknowledgements, and of latency, at 64 clients.
RATE_KEPT = 0.5
P99_MS = 50
IN_STEP_SECONDS = 60

Turn = tuple[Load, Load]


def replicas(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(fresh(run.data("replicas"))) as stack, replica(stack):
        plain = stack.run("numbering")
        waiting_url, waiting = stack.run_beside(
            "waiting", "numbering_service", "NUMBERING_PORT", REPLICAS_TO_ACKNOWLEDGE="1"
        )
        with stack.during(plain), stack.during(waiting):
            urls = (stack.numbering_url, waiting_url)
            for clients in CLIENTS:
                turns = [take_turns(run, stack, urls, clients) for _ in range(run.sizes.rounds)]
                report(run, clients, turns)
    run.check_failures()


@contextmanager
def replica(stack: BenchStack) -> Iterator[None]:
    """A replica of the stack's Valkey that is in step."""
    port = choose_port()
    home = stack.layout.directory / "replica"
    home.mkdir(exist_ok=True)
    command = server_command(port, dir=str(home))
    part = Part("replica", command, is_ready=lambda: answers(redis_url(port)))
    with stack.during(stack.run_part(part)), stack.redis() as primary:
        primary.config_set("repl-diskless-sync-delay", 0)
        with Redis.from_url(redis_url(port)) as client:
            client.replicaof(LOOPBACK, int(primary.get_connection_kwargs()["port"]))
        wait_until(lambda: bool(primary.role()[2]), IN_STEP_SECONDS, "the replica is in step")
        yield


def take_turns(run: Run, stack: BenchStack, urls: Sequence[str], clients: int) -> Turn:
    """One load on the service that does not wait, and one on the other."""
    first, second = (one_load(run, stack, url, clients) for url in urls)
    return first, second


def one_load(run: Run, stack: BenchStack, url: str, clients: int) -> Load:
    requests = chat_requests(1)
    empty(stack, requests)
    seen = post_warm(run, url, requests, clients)
    run.results.count_failures(f"replicas, {clients_text(clients)}", seen)
    return seen


def report(run: Run, clients: int, turns: Sequence[Turn]) -> None:
    """The medians of all turns, and of the ratios within each."""
    name, add = clients_text(clients), run.results.add
    for position, kind in enumerate(("no acknowledgement", "one replica acknowledges")):
        loads = [turn[position] for turn in turns]
        add(f"{kind}, {name}: rate", median(each.rate for each in loads), "/s")
        add(f"{kind}, {name}: p50", median(each.p50_ms for each in loads), "ms")
        bound = P99_MS if position and clients == 64 else None
        add(f"{kind}, {name}: p99", median(each.p99_ms for each in loads), "ms", at_most=bound)
    kept = median(waiting.rate / plain.rate for plain, waiting in turns)
    least = RATE_KEPT if clients == 64 else None
    add(f"one replica acknowledges, {name}: rate kept", kept, "", at_least=least)
