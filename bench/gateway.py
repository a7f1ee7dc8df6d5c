"""Our creations beside a gateway in Go (`bench/fiber`), in turns within one run.

The gateway has a Valkey of its own that writes nothing to disk; ours is on disk
before it is answered. Where Go is not installed this is skipped with one line.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from redis import Redis

from bench.creation_requests import chat_requests, empty, post_warm
from bench.dataset import APPLICATION_TOKEN
from bench.results import clients_text, say
from bench.scenario import Run
from bench.stack import BenchStack
from bench.tools import BenchError, Load
from bench.tools import run as run_program
from local_stack.applications import is_live
from local_stack.ports import LOOPBACK, choose_port
from local_stack.process import Part
from local_stack.stores.valkey import answers, redis_url, server_command

# How many times the gateway's rate ours has to be, by the number of clients.
TIMES_GATEWAY = {64: 1.8, 16: 1.05, 1: 0.8}
P99_BELOW_GATEWAY = (64, 16)
OF_YARDSTICK_AT_64 = 0.36
SOURCE = Path(__file__).with_name("fiber")
GO = ("go", "/usr/local/go/bin/go")


class Server(NamedTuple):
    """A server under load, and the Valkey behind it."""

    url: str
    redis_url: str


def beside_the_gateway(run: Run, stack: BenchStack, go: Sequence[str] = GO) -> None:
    """Both servers at each number of clients, in turns; the table shows both and the ratios.

    `go` are the places where Go's program may be.
    """
    binary_path = build(run.directory, go)
    if binary_path is None:
        say("   NO GO: the gateway in bench/fiber is not built, and nothing is compared with it")
        return
    name = "ours and the gateway"
    numbering = stack.run("numbering")
    ours = Server(stack.numbering_url, stack.environment["REDIS_URL"])
    with stack.during(numbering), gateway(stack, binary_path) as theirs:
        yardstick = run.yardstick(stack, name)
        for clients in TIMES_GATEWAY:
            pairs = [take_turns(run, stack, ours, theirs, clients) for _ in range(run.sizes.rounds)]
            report(run, clients, pairs, yardstick)


def build(directory: Path, go: Sequence[str]) -> Path | None:
    """Build the gateway; None where Go is not installed."""
    program = next((found for place in go if (found := shutil.which(place))), None)
    if program is None:
        return None
    directory.mkdir(exist_ok=True)
    target = directory / "fiber-gateway"
    run_program([program, "build", "-C", str(SOURCE), "-o", str(target), "."])
    return target


@contextmanager
def gateway(stack: BenchStack, program: Path) -> Iterator[Server]:
    """The gateway and its Valkey, for as long as they are needed."""
    redis_port = choose_port()
    port = choose_port({redis_port})
    server = Server(f"http://{LOOPBACK}:{port}", redis_url(redis_port))
    command = server_command(redis_port, appendonly="no")
    store = Part("gateway-valkey", command, is_ready=lambda: answers(server.redis_url))
    environment = {**os.environ, "REDIS_URL": server.redis_url, "NUMBERING_PORT": str(port)}
    front = Part(
        "gateway", (str(program),), is_ready=lambda: is_live(server.url), environment=environment
    )
    with stack.during(stack.run_part(store)), stack.during(stack.run_part(front)):
        yield server


def take_turns(
    run: Run, stack: BenchStack, ours: Server, theirs: Server, clients: int
) -> tuple[Load, Load]:
    """One load on each."""
    requests = chat_requests(1)
    empty(stack, requests)
    our_load = post_warm(run, ours.url, requests, clients)
    with Redis.from_url(theirs.redis_url) as client:
        client.flushall()
        client.sadd("gateway:applications", APPLICATION_TOKEN)
        client.sadd(f"gateway:chats:{APPLICATION_TOKEN}", 1)
    their_load = post_warm(run, theirs.url, requests, clients)
    for load_of in (our_load, their_load):
        run.results.count_failures(f"turns at {clients_text(clients)}", load_of)
    return our_load, their_load


def report(run: Run, clients: int, pairs: Sequence[tuple[Load, Load]], yardstick: float) -> None:
    """The medians of all turns, and of the ratios within each."""
    if not all(theirs.rate for _, theirs in pairs):
        raise BenchError("the gateway answered nothing")
    name, add = clients_text(clients), run.results.add
    our_rate = median(ours.rate for ours, _ in pairs)
    our_p99 = median(ours.p99_ms for ours, _ in pairs)
    their_p99 = median(theirs.p99_ms for _, theirs in pairs)
    add(f"turns, {name}: our rate", our_rate, "/s")
    add(f"turns, {name}: the gateway's rate", median(t.rate for _, t in pairs), "/s")
    times = median(ours.rate / theirs.rate for ours, theirs in pairs)
    add(f"turns, {name}: times the gateway", times, "", at_least=TIMES_GATEWAY[clients])
    bound = their_p99 if clients in P99_BELOW_GATEWAY else None
    add(f"turns, {name}: our p99", our_p99, "ms", at_most=bound)
    add(f"turns, {name}: the gateway's p99", their_p99, "ms")
    if clients == 64:
        share = our_rate / yardstick
        add(f"turns, {name}: share of the yardstick", share, "", at_least=OF_YARDSTICK_AT_64)
