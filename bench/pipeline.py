"""Creations stored, and indexed, by one worker on the same machine."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench.backlog import Backlog, messages_stored, wait_until_stored, waiting_for_index
from bench.creation_requests import create_chats, requests_to
from bench.lag import Lags, measure_lags
from bench.results import say
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import BenchError, Load, Request, load
from contract.keys import ACCEPTED, LEASE_INDEX
from local_stack.process import Running

CLIENTS = 64
PACED_CLIENTS = 128
STORED_OF_YARDSTICK = {False: 0.10, True: 0.05}
DRAINED_OF_YARDSTICK = 0.2
READABLE_P99_MS = 200
SEARCHABLE_P99_MS = 2000
BOUNDED_SECONDS = 1.0
RENEWAL_SECONDS = 1.0


def pipeline(run: Run) -> None:
    """The whole scenario: first with indexing held back, then with it."""
    with BenchStack(fresh(run.data("pipeline"))) as stack, ExitStack() as parts:
        hold_indexing_back(stack)
        Pipeline(run, stack, parts, indexing=False).measure()
    with BenchStack(fresh(run.data("pipeline-indexing")), with_elasticsearch=True) as stack:
        if stack.why_no_elasticsearch:
            run.results.skip(f"indexing by Elasticsearch ({stack.why_no_elasticsearch})")
        with ExitStack() as parts:
            Pipeline(run, stack, parts, indexing=True).measure()
    run.check_failures()


def hold_indexing_back(stack: BenchStack) -> None:
    """Take the lease away from the indexer: it leaves as soon as it would renew it.

    Workers shorten a lease that lasts longer than theirs, but not one without an end.
    """
    with stack.redis() as client:
        client.set(LEASE_INDEX, "benchmark")
    time.sleep(2 * RENEWAL_SECONDS)


class Pipeline:
    """One stack with all of its processes, and what is measured on it."""

    def __init__(self, run: Run, stack: BenchStack, parts: ExitStack, *, indexing: bool) -> None:
        self.run, self.stack, self.parts, self.indexing = run, stack, parts, indexing
        without = not indexing or stack.why_no_elasticsearch
        self.backend = "PostgreSQL alone" if without else "PostgreSQL and Elasticsearch"
        self.name = f"indexing in {self.backend}" if indexing else "indexing held back"
        self.worker: Running | None = None

    def measure(self) -> None:
        """Everything, in an order in which each finds the stack idle."""
        for name in ("crud", "numbering"):
            self.parts.enter_context(self.stack.during(self.stack.run(name)))
        self.worker = self.stack.run("worker")
        chats = create_chats(self.stack, self.run.sizes.chats)
        requests = requests_to(chats)
        stored_rate = self.full_speed(requests)
        if self.indexing:
            self.catch_up()
        self.at_half_speed(chats[0], requests, stored_rate / 2)
        if self.indexing:
            self.fill_index_queue(requests)
        else:
            self.drain(requests)
        self.index_rate()

    def full_speed(self, requests: list[Request]) -> float:
        """Creations as fast as they go; returns how many a second were answered and stored."""
        yardstick = self.run.yardstick(self.stack, self.name)
        before = messages_stored(self.stack)
        with self.stack.redis() as client, Backlog(client) as backlog:
            seen = self.load(requests, self.run.sizes.pipeline_seconds)
            stored = messages_stored(self.stack) - before
        self.run.results.add_load(f"{self.name}, full speed", seen)
        rate = stored / seen.seconds
        bound = STORED_OF_YARDSTICK[self.indexing]
        add = self.run.results.add
        add(f"{self.name}: answered and stored", rate, "/s")
        add(f"{self.name}: share of the yardstick", rate / yardstick, "", at_least=bound)
        self.judge_backlog(backlog, seen)
        self.check_stored(before, seen)
        return rate

    def load(self, requests: list[Request], seconds: int) -> Load:
        """Creations by 64 clients."""
        url = self.stack.numbering_url
        return load(url, requests, clients=CLIENTS, seconds=seconds, method="POST")

    def judge_backlog(self, backlog: Backlog, seen: Load) -> None:
        """Bounded: at no time was more accepted and not stored than arrives in a second."""
        self.run.results.draw("backlog", self.name, backlog.points)
        longest = max((length for _, length in backlog.points), default=0.0)
        limit = seen.rate * BOUNDED_SECONDS
        self.run.results.add(f"{self.name}: longest backlog", longest, "entries", at_most=limit)
        last = backlog.points[-1][1] if backlog.points else 0.0
        self.run.results.add(f"{self.name}: backlog at the end", last, "entries")

    def check_stored(self, before: int, seen: Load) -> None:
        """Raise unless all that was answered is stored, and little more (answers on their way)."""
        wait_until_stored(self.stack)
        stored = messages_stored(self.stack) - before
        if not seen.requests - seen.failed <= stored <= seen.requests + CLIENTS:
            raise BenchError(f"{seen.requests} were answered, {stored} are stored")

    def at_half_speed(self, chat: str, requests: list[Request], rate: float) -> None:
        """How soon a message can be read, and found, at half of what was stored a second."""
        seconds = self.run.sizes.lag_seconds
        pause = PACED_CLIENTS * 1000 / max(1, rate)
        with ThreadPoolExecutor(1) as pool:
            paced = pool.submit(
                load,
                self.stack.numbering_url,
                requests,
                clients=PACED_CLIENTS,
                seconds=seconds + 1,
                method="POST",
                pause_ms=pause,
            )
            lags = measure_lags(self.stack, chat, seconds, searchable=self.indexing)
        seen = paced.result()
        self.run.results.count_failures("half speed", seen)
        self.run.results.add(f"{self.name}, half speed: rate", seen.rate, "/s")
        self.add_lags(lags)
        wait_until_stored(self.stack)

    def add_lags(self, lags: dict[str, Lags]) -> None:
        bounds = {"readable": READABLE_P99_MS, "searchable": SEARCHABLE_P99_MS}
        for name, seen in lags.items():
            label = f"{self.name}, half speed: 201 to {name}"
            self.run.results.add(f"{label}, p50", seen.percentile(50), "ms")
            p99 = seen.percentile(99)
            self.run.results.add(f"{label}, p99 of {seen.count}", p99, "ms", at_most=bounds[name])

    def drain(self, requests: list[Request]) -> None:
        """Fill the stream while no worker runs, then see how fast one empties it."""
        yardstick = self.run.yardstick(self.stack, "drain")
        self.end_worker()
        with self.stack.redis() as client:
            while client.xlen(ACCEPTED) < self.run.sizes.backlog:
                self.run.results.count_failures("filling", self.load(requests, 1))
            with Backlog(client, every=0.02) as backlog:
                self.worker = self.stack.run("worker")
                wait_until_stored(self.stack)
        rate = backlog.drain_rate()
        add = self.run.results.add
        add(f"drain of {backlog.points[0][1]:,.0f} entries", rate, "rows/s")
        share = rate / yardstick
        add("drain: share of the yardstick", share, "", at_least=DRAINED_OF_YARDSTICK)

    def end_worker(self) -> None:
        if self.worker is not None:
            self.stack.end(self.worker)
            self.worker = None

    def fill_index_queue(self, requests: list[Request]) -> None:
        """Give the indexer something to work off while it is held back."""
        hold_indexing_back(self.stack)
        self.run.results.count_failures("filling", self.load(requests, self.run.sizes.seconds))
        wait_until_stored(self.stack)

    def index_rate(self) -> None:
        """How fast the indexer works off what it was given."""
        with self.stack.redis() as client:
            client.delete(LEASE_INDEX)
        points = self.catch_up()
        # The worker's sweep sees after a moment that nobody indexes.
        began, waiting = [point for point in points if point[1] == points[0][1]][-1]
        ended, left = points[-1]
        if waiting == left:
            raise BenchError(f"none of {waiting:,} messages was indexed")
        self.run.results.add(
            f"indexing, {self.backend}", (waiting - left) / (ended - began), "docs/s"
        )

    def catch_up(self) -> list[tuple[float, int]]:
        """Wait until all is indexed; returns when how much was not."""
        began = time.monotonic()
        points = [(began, waiting_for_index(self.stack))]
        say(f"   {points[0][1]:,} messages wait to be indexed …")
        while points[-1][1] and points[-1][0] - began < self.run.sizes.catch_up_seconds:
            time.sleep(0.2)
            points.append((time.monotonic(), waiting_for_index(self.stack)))
        if left := points[-1][1]:
            self.run.results.skip(f"{left:,} messages were still not indexed ({self.name})")
        return points
