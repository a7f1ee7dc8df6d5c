"""A long list, read as it arrives: when its first byte comes, and what it costs in memory."""

import http.client
import time
from urllib.parse import urlsplit

from bench.cost import MemoryWatch
from bench.dataset import APPLICATION_TOKEN
from bench.reads_data import LONG_CHAT
from bench.scenario import Run
from bench.tools import BenchError

FIRST_BYTE_MS = 100
GROWTH_MEGABYTES = 20
PIECE = 64 * 1024
LONG_LIST = f"/applications/{APPLICATION_TOKEN}/chats/{LONG_CHAT}/messages"


def long_list(run: Run, url: str, pid: int) -> None:
    """The list read a few times; the worst of each figure counts."""
    first_bytes, growths, megabytes = [], [], 0.0
    for _ in range(run.sizes.rounds):
        with MemoryWatch(pid) as memory:
            first_byte, total = read(url)
        first_bytes.append(first_byte)
        growths.append(memory.highest - memory.before)
        megabytes = total / 1e6
    name = f"full list of {run.sizes.long_list:,} ({megabytes:.0f} MB)"
    add = run.results.add
    add(f"{name}: first byte", max(first_bytes), "ms", at_most=FIRST_BYTE_MS)
    add(f"{name}: growth of the server", max(growths), "MB", at_most=GROWTH_MEGABYTES)


def read(url: str) -> tuple[float, int]:
    """Milliseconds to the first byte of the body, and how many bytes there were."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    started = time.perf_counter()
    connection.request("GET", LONG_LIST)
    response = connection.getresponse()
    total = len(response.read(1))
    first_byte = (time.perf_counter() - started) * 1000
    while piece := response.read(PIECE):
        total += len(piece)
    connection.close()
    if response.status != 200:
        raise BenchError(f"GET {LONG_LIST} answered {response.status}")
    return first_byte, total
