"""Creating messages: how fast, how late, at what cost, beside the plain design and a Go gateway.

No worker runs, so that nothing but the path of a creation is measured; the
stream is emptied between two loads.
"""

import time
from collections.abc import Sequence

from redis import Redis

from bench.cost import Meter, memory_megabytes
from bench.creation_requests import chat_requests, empty, sequences
from bench.gateway import beside_the_gateway
from bench.results import clients_text
from bench.running_stack import wait_until
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import BenchError, Load, Request, increments_per_second, load
from contract.keys import ACCEPTED
from local_stack.process import Running

# The plain design would have to be five times as fast to be level with us.
TIMES_PLAIN = 5
OF_YARDSTICK = {64: 0.20, 16: 0.14}
P99_MS_AT_64 = 10
P50_MS_AT_1 = 0.5
AT_256_OF_64 = 0.9
FLAT_MEGABYTES = 5
SETTLE_SECONDS = 10


def creations(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(fresh(run.data("creations"))) as stack:
        best = {}
        for chats in (1, run.sizes.chats):
            best[chats] = ours(run, stack, chats, processes=1)
            ours(run, stack, chats, processes=2)
            plain(run, stack, chats, best[chats])
        beside_the_gateway(run, stack)
        memory(run, stack)
    run.check_failures()


def name_of(chats: int, processes: int) -> str:
    where = "one hot chat" if chats == 1 else f"{chats:,} chats"
    return f"{where}, {processes} process{'es' if processes > 1 else ''}"


def ours(run: Run, stack: BenchStack, chats: int, processes: int) -> float:
    """Our service at each number of clients; returns its rate at 64."""
    name = name_of(chats, processes)
    numbering = stack.run("numbering", NUMBERING_PROCESSES=str(processes))
    with stack.during(numbering):
        yardstick = run.yardstick(stack, name)
        requests = chat_requests(chats)
        seen = {
            clients: measure(
                run, stack, numbering, requests, f"{name}, {clients_text(clients)}", clients
            )
            for clients in run.sizes.clients
        }
    run.results.draw("creations", name, [(c, each.rate) for c, each in seen.items()])
    run.results.draw("latency", name, [(c, each.p99_ms) for c, each in seen.items()])
    if processes == 1:
        judge(run, name, seen, yardstick)
    return seen[64].rate


def measure(
    run: Run,
    stack: BenchStack,
    numbering: Running,
    requests: Sequence[Request],
    name: str,
    clients: int,
) -> Load:
    """One load on numbering, with what it cost; every number has to be in the stream."""
    start_over(run, stack, requests, clients)
    meter = Meter({"numbering": numbering.process.pid, "Valkey": stack.valkey_pid})
    seen = post(stack, requests, clients, run.sizes.seconds)
    run.results.add_load(name, seen)
    for process, microseconds in meter.microseconds_each(seen.requests).items():
        run.results.add(f"{name}: CPU of {process} a creation", microseconds, "µs")
    check_numbers(stack, requests, seen)
    return seen


def start_over(run: Run, stack: BenchStack, requests: Sequence[Request], clients: int) -> None:
    """Empty the stream, and warm up who gets the load.

    The stream is not emptied after that, too: it would look like a persister at work, whose pace a
    client is slowed down to, for a third of a second.
    """
    empty(stack, requests)
    if run.sizes.warm_up:
        post(stack, requests, clients, seconds=1)


def post(stack: BenchStack, requests: Sequence[Request], clients: int, seconds: int) -> Load:
    return load(stack.numbering_url, requests, clients=clients, seconds=seconds, method="POST")


def judge(run: Run, name: str, seen: dict[int, Load], yardstick: float) -> None:
    """The bounds of one process."""
    add = run.results.add
    for clients, share in OF_YARDSTICK.items():
        rate = seen[clients].rate / yardstick
        add(f"{name}, {clients_text(clients)}: share of the yardstick", rate, "", at_least=share)
    add(f"{name}, 64 clients: p99", seen[64].p99_ms, "ms", at_most=P99_MS_AT_64)
    add(f"{name}, 1 client: p50", seen[1].p50_ms, "ms", at_most=P50_MS_AT_1)
    share = seen[256].rate / seen[64].rate
    add(f"{name}: rate at 256 clients / at 64", share, "", at_least=AT_256_OF_64)


def is_at_rest(client: "Redis") -> bool:
    """Whether nothing is numbered any more: wrk leaves before its last requests are answered."""
    before = client.xlen(ACCEPTED)
    time.sleep(0.1)
    return bool(client.xlen(ACCEPTED) == before)


def check_numbers(stack: BenchStack, requests: Sequence[Request], seen: Load) -> None:
    """Raise unless there are as many entries as numbers, and no fewer than were answered."""
    with stack.redis() as client:
        wait_until(lambda: is_at_rest(client), SETTLE_SECONDS, "the last creations are numbered")
        numbers = sum(int(value or 0) for value in client.mget(sequences(requests)))
        entries = client.xlen(ACCEPTED)
    if entries != numbers or entries < seen.requests - seen.failed:
        raise BenchError(f"{seen.requests} answers, {numbers} numbers, {entries} entries")


def plain(run: Run, stack: BenchStack, chats: int, our_rate: float) -> None:
    """The plain design, and how many times faster we are at 64 clients."""
    name = f"plain design, {name_of(chats, 1)}"
    server = stack.run_module("plain", "bench.plain", stack.numbering_url)
    rates = {}
    requests = chat_requests(chats)
    with stack.during(server):
        for clients in run.sizes.clients:
            start_over(run, stack, requests, clients)
            seen = post(stack, requests, clients, run.sizes.seconds)
            run.results.add(f"{name}, {clients_text(clients)}: rate", seen.rate, "/s")
            run.results.add(f"{name}, {clients_text(clients)}: p99", seen.p99_ms, "ms")
            rates[clients] = seen.rate
    run.results.draw("creations", name, rates.items())
    times = our_rate / max(1, rates[64])
    run.results.add(
        f"{name_of(chats, 1)}, 64 clients: times the plain design",
        times,
        "",
        at_least=TIMES_PLAIN,
    )


def memory(run: Run, stack: BenchStack) -> None:
    """Memory after many creations against memory after fewer."""
    requests = chat_requests(run.sizes.chats)
    points: list[tuple[float, float]] = []
    created = 0
    with stack.during(stack.run("numbering")) as numbering:
        empty(stack, requests)
        while created < run.sizes.many_creations:
            seen = post(stack, requests, 64, run.sizes.memory_seconds)
            run.results.count_failures("memory", seen)
            created += seen.requests
            points.append((created, memory_megabytes(numbering.process.pid)))
            with stack.redis() as client:
                client.xtrim(ACCEPTED, maxlen=0, approximate=False)
    run.results.draw("memory", "resident", points)
    warm = next(size for at, size in points if at >= run.sizes.warm_creations)
    add = run.results.add
    add(f"memory after {points[-1][0]:,.0f} creations", points[-1][1], "MB")
    growth = points[-1][1] - warm
    add("memory: growth since the warm-up", growth, "MB", at_most=FLAT_MEGABYTES)
    one = increments_per_second(
        stack.environment["REDIS_URL"], 1, run.sizes.yardstick_requests // 10
    )
    add("INCR by 1 client", one, "/s")
