"""Streams of new messages: what idle ones cost, how soon an event is there, what creations lose."""

import statistics
import time
from itertools import cycle, islice

from bench.backlog import wait_until_stored
from bench.cost import cpu_seconds, memory_megabytes
from bench.creation_requests import create_chats, requests_to
from bench.followers import Followers
from bench.lag import Client, Lags
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import BenchError, load
from local_stack.process import Running

KILOBYTES_A_STREAM, PERCENT_OF_A_CORE = 10, 3
LAST_P99_MS = 80
SHARE_OF_CREATIONS = 0.95
LAG_P50_MS, LAG_P99_MS = 30, 150
# As many streams as one application may have.
STREAMS_OF_AN_APPLICATION = 1_000
CHATS_OF_AN_APPLICATION = 100
WARM_UP_STREAMS = 500
BETWEEN_SECONDS = 0.05
MEGABYTE_IN_KILOBYTES = 1024


def live(run: Run) -> None:
    """The whole scenario, without Elasticsearch."""
    with BenchStack(fresh(run.data("live"))) as stack:
        crud = stack.run("crud")
        for name in ("worker", "numbering"):
            stack.run(name)
        idle_streams(run, stack, crud)
        one_to_many(run, stack, crud)
        creations_beside(run, stack)
        paces(run, stack)


def stream_of(chat: str) -> str:
    return f"{chat}/messages/stream"


def streams(stack: BenchStack, count: int) -> list[str]:
    """Paths of streams: of a hundred chats of as many applications as they need."""
    paths: list[str] = []
    while len(paths) < count:
        chats = map(stream_of, create_chats(stack, CHATS_OF_AN_APPLICATION))
        paths += islice(cycle(list(chats)), min(STREAMS_OF_AN_APPLICATION, count - len(paths)))
    wait_until_stored(stack)
    return paths


def idle_streams(run: Run, stack: BenchStack, crud: Running) -> None:
    """What streams take of memory and of the processor while nothing happens in their chats."""
    pid, count = crud.process.pid, run.sizes.streams
    paths = streams(stack, count)
    with Followers(stack.crud_url, paths[:WARM_UP_STREAMS]):
        pass
    time.sleep(1)
    before = memory_megabytes(pid)
    with Followers(stack.crud_url, paths):
        grown = memory_megabytes(pid) - before
        spent, started = cpu_seconds(pid), time.monotonic()
        time.sleep(run.sizes.idle_stream_seconds)
        percent = 100 * (cpu_seconds(pid) - spent) / (time.monotonic() - started)
    add, name = run.results.add, f"{count:,} idle streams"
    each = grown * MEGABYTE_IN_KILOBYTES / count
    add(f"{name}: memory of each", each, "KB", at_most=KILOBYTES_A_STREAM)
    add(f"{name}: CPU of crud", percent, "% of a core", at_most=PERCENT_OF_A_CORE)


def one_to_many(run: Run, stack: BenchStack, crud: Running) -> None:
    """How soon after its 201 a message is there for the last of many followers of its chat."""
    (chat,) = create_chats(stack, 1)
    wait_until_stored(stack)
    count, messages = run.sizes.followers, run.sizes.fan_out_messages
    last = Lags()
    with Followers(stack.crud_url, [stream_of(chat)] * count) as followers:
        numbering = Client(stack.numbering_url)
        spent = cpu_seconds(crud.process.pid)
        for position in range(1, messages + 1):
            answered = create(numbering, chat)
            arrived = followers.wait_for(position * count)
            last.milliseconds.append(max(0.0, arrived - answered) * 1000)
            time.sleep(BETWEEN_SECONDS)
        spent = cpu_seconds(crud.process.pid) - spent
    numbering.connection.close()
    name = f"one message to {count:,} followers: 201 to the last"
    run.results.add(f"{name}, p50", last.percentile(50), "ms")
    p99 = f"{name}, p99 of {last.count}"
    run.results.add(p99, last.percentile(99), "ms", at_most=LAST_P99_MS)
    run.results.add(f"{name}: CPU of crud a message", spent * 1000 / messages, "ms")


def create(numbering: Client, chat: str) -> float:
    """Create a message; return when it was answered."""
    status, _ = numbering.ask("POST", f"{chat}/messages", {"body": "to everybody"})
    answered = time.perf_counter()
    if status != 201:
        raise BenchError(f"a creation was answered {status}")
    return answered


def creations_beside(run: Run, stack: BenchStack) -> None:
    """Creations by 64 clients with and without followers of other chats, in turns."""
    requests = requests_to(create_chats(stack, CHATS_OF_AN_APPLICATION))
    paths = streams(stack, run.sizes.followers)

    def rate() -> float:
        wait_until_stored(stack)
        seen = load(
            stack.numbering_url, requests, clients=64, seconds=run.sizes.seconds, method="POST"
        )
        run.results.count_failures("creations beside followers", seen)
        return seen.rate

    rate()
    alone, beside = [], []
    for _ in range(run.sizes.live_rounds):
        alone.append(rate())
        with Followers(stack.crud_url, paths):
            beside.append(rate())
    wait_until_stored(stack)
    add, name = run.results.add, "creations by 64 clients"
    add(f"{name}, nobody follows", statistics.median(alone), "/s")
    add(f"{name}, {len(paths):,} follow other chats", statistics.median(beside), "/s")
    # Each pair is from one moment: what else the machine does moves both.
    share = statistics.median(b / a for a, b in zip(alone, beside, strict=True))
    add(f"{name}: share kept, median of {len(alone)}", share, "", at_least=SHARE_OF_CREATIONS)


def paces(run: Run, stack: BenchStack) -> None:
    """How soon after its 201 a message is there for a follower, at many paces of sending."""
    (chat,) = create_chats(stack, 1)
    wait_until_stored(stack)
    for seconds, count in run.sizes.paces:
        # A stream of its own, as one ends after ten minutes.
        with Followers(stack.crud_url, [stream_of(chat)]) as followers:
            lags = send(stack, followers, chat, seconds, count)
        name = f"one every {seconds:g} s: 201 to event"
        run.results.add(f"{name}, p50", lags.percentile(50), "ms", at_most=LAG_P50_MS)
        p99 = f"{name}, p99 of {lags.count}"
        run.results.add(p99, lags.percentile(99), "ms", at_most=LAG_P99_MS)


def send(stack: BenchStack, followers: Followers, chat: str, seconds: float, count: int) -> Lags:
    """Send messages at a pace, the first one after a pause; how soon each is there."""
    lags = Lags()
    numbering = Client(stack.numbering_url)
    began, before = time.monotonic(), followers.arrived
    for position in range(1, count + 1):
        time.sleep(max(0.0, began + position * seconds - time.monotonic()))
        answered = create(numbering, chat)
        arrived = followers.wait_for(before + position)
        lags.milliseconds.append(max(0.0, arrived - answered) * 1000)
    numbering.connection.close()
    return lags
