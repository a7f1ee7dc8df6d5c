"""Reads and updates of crud_service, beside the floor: the same SQL in a bare callable."""

import random
from collections.abc import Mapping, Sequence
from uuid import uuid4

from bench.dataset import APPLICATION_TOKEN
from bench.long_list import long_list
from bench.reads_data import LARGE_CHAT, LIST_CHAT, SMALL_MESSAGES, fill_large, fill_small
from bench.results import clients_text
from bench.scenario import Run
from bench.stack import BenchStack
from bench.tools import Load, Request, load
from local_stack.compiled.tree import import_variables

OF_FLOOR = 0.5
BOUNDED = ("GET message", "page of 100")
AT_MOST_DEARER = 1.2
REQUESTS = 10_000
APPLICATION = f"/applications/{APPLICATION_TOKEN}"
MESSAGES = f"{APPLICATION}/chats/{LARGE_CHAT}/messages"
FULL_LIST = f"{APPLICATION}/chats/{LIST_CHAT}/messages"

# Where a load goes, and what it asks.
Target = tuple[str, Sequence[Request]]


def reads(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(run.data("reads")) as stack:
        fill_large(run, stack)
        run.yardstick(stack, "reads")
        with stack.during(stack.run("crud")) as crud:
            beside_the_floor(run, stack)
            page_depth(run, stack)
            table_size(run, stack)
            long_list(run, stack.crud_url, crud.process.pid)
            without_a_floor(run, stack)  # last: updates move rows away from their neighbours
    run.check_failures()


def pages(low: int, high: int) -> list[Request]:
    """Pages of 100 that begin anywhere between two numbers."""
    drawn = random.Random(2)
    return [
        Request(f"{MESSAGES}?limit=100&after={drawn.randint(low, high)}") for _ in range(REQUESTS)
    ]


def messages(run: Run) -> list[Request]:
    """Single messages, anywhere in the large chat."""
    drawn = random.Random(3)
    return [Request(f"{MESSAGES}/{drawn.randint(1, run.sizes.messages)}") for _ in range(REQUESTS)]


def beside_the_floor(run: Run, stack: BenchStack) -> None:
    """What has a floor: each number of clients on the floor and on us, one after the other."""
    # Compiled if we are: it is the same server.
    url, floor = stack.run_beside("floor", "bench.floor", "CRUD_PORT", **import_variables())
    kinds = {
        "GET application": [Request(APPLICATION)],
        "GET message": messages(run),
        "page of 100": pages(0, run.sizes.messages - 100),
    }
    with stack.during(floor):
        for name, requests in kinds.items():
            rates = {
                clients: compare(run, stack, url, name, requests, clients)
                for clients in run.sizes.readers
            }
            run.results.draw("reads", name, [(c, ours) for c, (ours, _) in rates.items()])
            run.results.draw("reads", f"{name}, floor", [(c, f) for c, (_, f) in rates.items()])


def compare(
    run: Run,
    stack: BenchStack,
    floor_url: str,
    name: str,
    requests: Sequence[Request],
    clients: int,
) -> tuple[float, float]:
    """Our rate and the floor's, taken in turns: what else runs here can only slow either down."""
    floor, ours = in_turns(run, (floor_url, requests), (stack.crud_url, requests), clients)
    label = f"{name}, {clients_text(clients)}"
    run.results.add_load(label, ours)
    run.results.add(f"{label}: floor", floor.rate, "/s")
    bound = OF_FLOOR if name in BOUNDED else None
    share = ours.rate / floor.rate
    run.results.add(f"{label}: share of the floor", share, "", at_least=bound)
    return ours.rate, floor.rate


def in_turns(run: Run, first: Target, second: Target, clients: int) -> tuple[Load, Load]:
    """The best load of each of two, which take turns."""
    seen: tuple[list[Load], list[Load]] = ([], [])
    for _ in range(run.sizes.rounds):
        for loads, (url, requests) in zip(seen, (first, second), strict=True):
            loads.append(timed(run, url, requests, clients))
    best_first, best_second = (max(loads, key=lambda each: each.rate) for loads in seen)
    return best_first, best_second


def timed(
    run: Run, url: str, requests: Sequence[Request], clients: int, method: str = "GET"
) -> Load:
    """A load of the usual length, after a short one that warms both sides up."""
    seconds = max(1, run.sizes.seconds // 2)
    if run.sizes.warm_up:
        load(url, requests, clients=clients, seconds=1)
    salt = uuid4().hex[:8] if method == "PUT" else ""
    return load(url, requests, clients=clients, seconds=seconds, method=method, salt=salt)


def without_a_floor(run: Run, stack: BenchStack) -> None:
    """Full lists and updates."""
    kinds: Mapping[str, tuple[str, list[Request]]] = {
        f"full list of {run.sizes.list:,}": ("GET", [Request(FULL_LIST)]),
        "PUT message": ("PUT", messages(run)),
    }
    for name, (method, requests) in kinds.items():
        seen = {c: timed(run, stack.crud_url, requests, c, method) for c in run.sizes.readers}
        for clients, each in seen.items():
            # The service bounds how many long answers are on their way at once.
            label = f"{name}, {clients_text(clients)}"
            run.results.add_load(label, each, may_refuse=method == "GET")
        run.results.draw("reads", name, [(c, each.rate) for c, each in seen.items()])


def page_depth(run: Run, stack: BenchStack) -> None:
    """A page at the end of a large chat against one at its start."""
    span = run.sizes.messages // 100
    near = (stack.crud_url, pages(0, span))
    far = (stack.crud_url, pages(run.sizes.messages - span - 100, run.sizes.messages - 100))
    name = f"page at the end / at the start of a chat of {run.sizes.messages:,}: cost"
    run.results.add(name, cost_ratio(run, near, far), "", at_most=AT_MOST_DEARER)


def table_size(run: Run, stack: BenchStack) -> None:
    """A page in a large table against one in a small table, each from a server of its own."""
    small = min(SMALL_MESSAGES, run.sizes.messages // 10)
    url, crud = stack.run_beside(
        "crud-small", "crud_service", "CRUD_PORT", DATABASE_URL=fill_small(run, stack)
    )
    with stack.during(crud):
        few = (url, pages(0, small - 100))
        many = (stack.crud_url, pages(0, run.sizes.messages - 100))
        name = f"page of {run.sizes.messages:,} rows / of {small:,} rows: cost"
        run.results.add(name, cost_ratio(run, few, many), "", at_most=AT_MOST_DEARER)


def cost_ratio(run: Run, base: Target, other: Target) -> float:
    """How many times the second costs what the first does, for one client."""
    first, second = in_turns(run, base, other, clients=1)
    return first.rate / second.rate
