"""Compares our node class of the Elasticsearch client with the client's own.

    python -m bench.search_nodes

Each search is sent through both, one right after the other, to the same index.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import orjson
from elastic_transport import Urllib3HttpNode

from bench.results import say
from local_stack.stack import Settings, Stores

MESSAGES = 20_000
SEARCHES = 600
TURNS = 5
THREADS = (1, 4)
WORDS = [f"word{number:03d}" for number in range(500)]


class Taken(NamedTuple):
    """What a search took: seconds, and processor time of this process."""

    seconds: float
    cpu: float


chosen = threading.local()


def main() -> None:
    """Start the stores, fill an index, and compare both nodes."""
    with tempfile.TemporaryDirectory() as directory:
        stores = Stores(Settings(Path(directory) / "stores", elasticsearch_later=True))
        stores.prepare()
        try:
            stores.start()
            stores.start_elasticsearch()
            stores.wait_for_elasticsearch()
            os.environ.update(
                stores.environment, DJANGO_SETTINGS_MODULE="crud_service.settings", LOCAL_STACK="1"
            )
            compare()
        finally:
            stores.stop()


def compare() -> None:
    import django

    django.setup()
    from crud_service.search.index import elasticsearch_index as index
    from crud_service.search.index.http_node import HttpNode
    from crud_service.search.query import query_elasticsearch

    fill()
    clients = {}
    for name, node_class in {"ours": HttpNode, "urllib3": Urllib3HttpNode}.items():
        setattr(index, "HttpNode", node_class)  # noqa: B010 - replaced for this comparison alone
        clients[name] = index.client()
        index.client_of.cache_clear()
    setattr(query_elasticsearch, "client", lambda: clients[chosen.node])  # noqa: B010
    for threads in THREADS:
        measure(threads)  # to warm up
        for _ in range(TURNS):
            say(f"{threads} threads  {describe(measure(threads))}")


def describe(taken: Sequence[dict[str, Taken]]) -> str:
    """Describe a turn: each node's p50, p99 and processor time, and urllib3's ratios to ours."""
    figures = {}
    for name in ("ours", "urllib3"):
        seconds = [pair[name].seconds for pair in taken]
        cpu = median(pair[name].cpu for pair in taken)
        figures[name] = (median(seconds), quantiles(seconds, n=100)[98], cpu)
    cells = [
        f"{name} {p50 * 1000:.2f} / {p99 * 1000:.1f} ms, CPU {cpu * 1e6:.0f} us"
        for name, (p50, p99, cpu) in figures.items()
    ]
    pairs = zip(figures["urllib3"], figures["ours"], strict=True)
    return "  ".join([*cells, "ratios", *(f"{theirs / ours:.2f}" for theirs, ours in pairs)])


def fill() -> None:
    from crud_service.search.index import elasticsearch_index as index
    from crud_service.search.index.documents import make_document
    from crud_service.search.text.folding import mark
    from crud_service.search.text.texts import Text

    name = index.new_index_name()
    index.create_index(name, "bench")
    index.swap_alias(name, [])
    words = random.Random(1)
    operations: list[Mapping[str, Any]] = []
    for number in range(1, MESSAGES + 1):
        body = " ".join(words.choices(WORDS, k=8))
        text = Text(1, number, number, 1, mark(body))
        operations += [{"index": {}}, orjson.loads(make_document(text))]
        if number % 2000 == 0:
            index.client().bulk(index=name, operations=operations)
            operations.clear()
    index.client().indices.refresh(index=name)


def measure(threads: int) -> list[dict[str, Taken]]:
    """Send each search through both nodes, one right after the other."""
    keywords = random.Random(2).choices(WORDS, k=SEARCHES)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(both, keywords, range(SEARCHES)))


def both(keyword: str, turn: int) -> dict[str, Taken]:
    names = ("ours", "urllib3") if turn % 2 else ("urllib3", "ours")
    return {name: timed(keyword, name) for name in names}


def timed(keyword: str, node: str) -> Taken:
    from crud_service.search.query.plan import Plan
    from crud_service.search.query.query_elasticsearch import search
    from crud_service.search.text.folding import split_parts

    chosen.node = node
    plan = Plan(chat_id=1, parts=split_parts(keyword), limit=21, ranked=True)
    started, cpu = time.perf_counter(), time.thread_time()
    hits = search(plan)
    taken = Taken(time.perf_counter() - started, time.thread_time() - cpu)
    if not hits:
        raise RuntimeError(f"no hits for {keyword}")
    return taken


if __name__ == "__main__":
    main()
