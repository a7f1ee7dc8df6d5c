"""Imports and exports of two sizes: what each takes in memory, and how fast it is."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.cost import MemoryWatch
from bench.long_list import PIECE
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import BenchError

# What ten times as many messages may take in addition.
GROWTH_MEGABYTES = 20
MESSAGES_A_CHAT = 10_000
BODY = "A message as people write them, neither long nor short; the rest is for the size. "
TIMES = {"created_at": "2022-08-09T22:17:52.599Z", "updated_at": "2022-08-09T22:17:52.599Z"}
COMMAND = (sys.executable, "-m", "crud_service.manage", "import_application")


class Imported(NamedTuple):
    access_token: str
    seconds: float
    megabytes: float


def transfer(run: Run) -> None:
    """Import and export a small application and a large one, and compare their peaks."""
    with BenchStack(fresh(run.data("transfer"))) as stack, stack.during(stack.run("crud")) as crud:
        peaks = []
        for messages in run.sizes.transfers:
            imported = import_of(stack, write_file(run.data("transfer") / "export", messages))
            with MemoryWatch(crud.process.pid) as memory:
                seconds = export(stack.crud_url, imported.access_token)
            add, name = run.results.add, f"{messages:,} messages"
            add(f"import of {name}: peak of the command", imported.megabytes, "MB")
            add(f"import of {name}", messages / imported.seconds, "/s")
            add(f"export of {name}: growth of the server", memory.highest - memory.before, "MB",
                at_most=GROWTH_MEGABYTES)  # fmt: skip
            add(f"export of {name}", messages / seconds, "/s")
            peaks.append(imported.megabytes)
        growth = peaks[-1] - peaks[0]
        run.results.add("import: growth with the size", growth, "MB", at_most=GROWTH_MEGABYTES)


def write_file(path: Path, messages: int) -> Path:
    """Write an export with that many messages, as a service would send it."""
    with path.open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines(messages))
    return path


def lines(messages: int) -> Iterator[dict[str, object]]:
    chats = -(-messages // MESSAGES_A_CHAT)
    yield {"type": "application", "name": "large", "access_token": "x" * 24, **TIMES}
    for chat in range(chats):
        in_chat = min(MESSAGES_A_CHAT, messages - chat * MESSAGES_A_CHAT)
        yield {"type": "chat", "number": chat + 1, "message_count": in_chat, **TIMES}
        for number in range(1, in_chat + 1):
            yield {"type": "message", "number": number, "body": f"{BODY}{number}", **TIMES}
    yield {"type": "end", "chats": chats, "messages": messages}


def import_of(stack: BenchStack, path: Path) -> Imported:
    """Run the command, and watch its memory."""
    started = time.perf_counter()
    with (
        subprocess.Popen(
            [*COMMAND, path],
            env={**os.environ, **stack.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        MemoryWatch(process.pid) as memory,
    ):
        output, errors = process.communicate()
    if process.returncode:
        raise BenchError(f"the import failed: {errors.strip()}")
    return Imported(output.split()[-1], time.perf_counter() - started, memory.highest)


def export(url: str, access_token: str) -> float:
    """Read an export to its end; return the seconds that it took."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    started = time.perf_counter()
    connection.request("GET", f"/applications/{access_token}/export")
    response = connection.getresponse()
    end = b""
    while piece := response.read(PIECE):
        end = (end + piece)[-100:]
    connection.close()
    if response.status != 200 or b'"type":"end"' not in end:
        raise BenchError(f"the export was answered {response.status}, or was cut short")
    return time.perf_counter() - started
