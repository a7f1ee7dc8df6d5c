"""How soon a message can be read, and found, at many paces of sending.

One pace after the other, each alone on the stack: what another pace woke up would
hide a worker that sleeps between two messages of this one.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.creation_requests import create_chats
from bench.lag import Lags, follow
from bench.scenario import Run
from bench.stack import BenchStack, fresh

KINDS = ("readable", "searchable")
BOUNDS_MS = {"readable": (20, 100), "searchable": (500, 2000)}
# More messages than that are never followed at once: each is found within a second or two.
FOLLOWED_AT_ONCE = 64
WARM_UP = 20


def pace(run: Run) -> None:
    """The whole scenario, on an idle stack with one application."""
    with BenchStack(fresh(run.data("pace")), with_elasticsearch=True) as stack:
        if stack.why_no_elasticsearch:
            run.results.skip(f"searchable by Elasticsearch ({stack.why_no_elasticsearch})")
        for name in ("crud", "worker", "numbering"):
            stack.run(name)
        (chat,) = create_chats(stack, 1)
        send(stack, chat, 0.1, WARM_UP)
        for seconds, count in run.sizes.paces:
            add(run, f"one every {seconds:g} s", send(stack, chat, seconds, count))


def send(stack: BenchStack, chat: str, seconds: float, count: int) -> dict[str, Lags]:
    """Send messages at a pace, the first one after a pause; how soon each is there."""
    lags = {kind: Lags() for kind in KINDS}
    began = time.monotonic()
    with ThreadPoolExecutor(FOLLOWED_AT_ONCE) as pool:
        followed = []
        for position in range(1, count + 1):
            time.sleep(max(0.0, began + position * seconds - time.monotonic()))
            followed.append(pool.submit(follow, stack, chat, KINDS))
    for each in followed:
        for kind, milliseconds in each.result().items():
            lags[kind].milliseconds.append(milliseconds)
    return lags


def add(run: Run, name: str, lags: dict[str, Lags]) -> None:
    """Keep the figures of a pace."""
    for kind, seen in lags.items():
        label = f"{name}: 201 to {kind}"
        middle, high = BOUNDS_MS[kind]
        run.results.add(f"{label}, p50", seen.percentile(50), "ms", at_most=middle)
        p99 = f"{label}, p99 of {seen.count}"
        run.results.add(p99, seen.percentile(99), "ms", at_most=high)
        run.results.add(f"{label}, longest", max(seen.milliseconds), "ms")
