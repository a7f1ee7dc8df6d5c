"""What several shards on one Redis cost a creation, in turns within one run.

One Valkey with two numbering services on it, one with a single shard and one with three; both get
messages for the same applications. What is compared is the processor time of a creation, that of
Valkey included.
"""

from collections.abc import Sequence
from statistics import median

from bench.cost import Meter
from bench.creation_requests import chat_requests, reset_sequences
from bench.results import clients_text
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import Load, Request, load
from contract.keys import message_sequence
from contract.shards import Shards
from local_stack.process import Running
from numbering_service.creations.window import STALL_SECONDS

SHARDS = 3
APPLICATIONS = [f"{number:024d}" for number in range(12)]
CLIENTS = (64, 16, 1)
# No application is held back any more: an emptied stream counts as one that is being stored.
WARM_UP_SECONDS = 1 + int(STALL_SECONDS)
# Of the processor time of a creation with one shard, at 64 clients: fewer fill no batches.
COST_AT_MOST = 1.15


def shards(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(fresh(run.data("shards"))) as stack:
        one = stack.run("numbering")
        url, three = stack.run_beside(
            "sharded", "numbering_service", "NUMBERING_PORT", SHARDS=str(SHARDS)
        )
        with stack.during(one), stack.during(three):
            services = ((stack.numbering_url, one), (url, three))
            for clients in CLIENTS:
                turns = [
                    [measure(run, stack, *service, clients) for service in services]
                    for _ in range(run.sizes.rounds)
                ]
                report(run, clients, turns)
    run.check_failures()


def measure(
    run: Run, stack: BenchStack, url: str, numbering: Running, clients: int
) -> tuple[Load, float]:
    """One load on a service, and the microseconds of processors that a creation took."""
    start_over(stack)
    requests = [
        Request(path_of(position), request.body)
        for position, request in enumerate(chat_requests(1))
    ]
    if run.sizes.warm_up:
        load(url, requests, clients=clients, seconds=WARM_UP_SECONDS, method="POST")
    meter = Meter({"numbering": numbering.process.pid, "Valkey": stack.valkey_pid})
    seen = load(url, requests, clients=clients, seconds=run.sizes.seconds, method="POST")
    run.results.count_failures(f"shards, {clients_text(clients)}", seen)
    return seen, sum(meter.microseconds_each(seen.requests).values())


def path_of(position: int) -> str:
    return f"/applications/{APPLICATIONS[position % len(APPLICATIONS)]}/chats/1/messages"


def start_over(stack: BenchStack) -> None:
    """Start without entries, with the sequence of a chat of each application, for both services."""
    shardings = [Shards(size) for size in (1, SHARDS)]
    keys = [each.of(it).key(message_sequence(it, 1)) for each in shardings for it in APPLICATIONS]
    reset_sequences(stack, keys)


def report(run: Run, clients: int, turns: Sequence[Sequence[tuple[Load, float]]]) -> None:
    """The medians of all turns, and of the ratios within each."""
    name, add = clients_text(clients), run.results.add
    for position, kind in enumerate(("one shard", f"{SHARDS} shards")):
        add(f"{kind}, {name}: rate", median(turn[position][0].rate for turn in turns), "/s")
        cost = median(turn[position][1] for turn in turns)
        add(f"{kind}, {name}: CPU of a creation", cost, "µs")
    ratio = median(three / one for (_, one), (_, three) in turns)
    bound = COST_AT_MOST if clients == 64 else None
    add(f"{SHARDS} shards / one, {name}: CPU of a creation", ratio, "", at_most=bound)
