"""The order in which several processes share the tests: the longest files first.

A process takes whole files. What takes longest starts first, so that no process is left alone
with a long file at the end. Files that share a stack go to the process that has started it, for as
long as the other processes have something else to do.

The times are in `seconds.json`; `pytest --record-seconds` writes them. A file that is not in it is
short.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

RECORD = Path(__file__).with_name("seconds.json")
# A file not worth recording; the others' order matters.
SHORT_SECONDS = 2.0
# What is started for all files of a folder, or for one, and takes a while to start; the first that
# matches.
STACKS = {
    "tests/end_to_end/demo_page": "stack with the chat page",
    "tests/fault": "stack with links",
    "tests/live": "stack with followers",
    "tests/tenants": "stack",
    "tests/clients": "stack",
    "tests/end_to_end": "stack",
    "tests/hostile": "stack",
    "tests/integration/search": "Elasticsearch",
    "tests/integration/local_stack/test_backup.py": "Elasticsearch",
}
# Files of these folders that use nothing but what they start themselves.
ALONE = {
    f"tests/fault/test_{name}.py"
    for name in ("cluster", "full_disk", "replicas", "resharding", "shards", "standbys")
}


def file_of(node_id: str) -> str:
    return node_id.partition("::")[0]


def stack_of(file: str) -> str | None:
    """Return what a file shares with other files and is started for all of them."""
    if file in ALONE:
        return None
    return next(
        (stack for place, stack in STACKS.items() if f"{file}/".startswith(f"{place}/")), None
    )


def recorded_seconds(record: Path = RECORD) -> dict[str, float]:
    """Return how long each file takes, by path."""
    return dict(json.loads(record.read_text())) if record.exists() else {}


def longest_first(files: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Order files for processes that take one after the other.

    The files that share a stack count as one, as one process is to take them.

    Args:
        files: paths of files, in any order.
        seconds: how long each takes; one that is missing is short.

    Returns:
        The files, from the longest to the shortest.
    """
    files = list(files)
    together = {file: stack_of(file) or file for file in files}
    totals: Counter[str] = Counter()
    for file in files:
        totals[together[file]] += seconds.get(file, SHORT_SECONDS)

    def place(file: str) -> tuple[float, str, float, str]:
        own = seconds.get(file, SHORT_SECONDS)
        return -totals[together[file]], together[file], -own, file

    return sorted(files, key=place)


def next_file(queue: Sequence[str], process: str, homes: Mapping[str, str]) -> str:
    """Choose the next file for a process.

    Args:
        queue: files that nobody has taken yet, the longest first.
        process: the one that asks.
        homes: by stack, the process that runs it.

    Returns:
        A file whose stack this process runs. If there is none, one that needs no stack of another
        process. If there is none either, the first: a second stack costs less than a process
        without work.
    """
    at_home = [file for file in queue if homes.get(stack_of(file) or "") == process]
    free = [file for file in queue if stack_of(file) not in homes]
    return (at_home or free or queue)[0]


class LongestFirst(LoadScopeScheduling):
    """pytest-xdist's scheduler of whole files, in this module's order."""

    def __init__(self, config: pytest.Config, log: Producer, seconds: Mapping[str, float]) -> None:
        super().__init__(config, log)
        self._seconds = seconds
        self._homes: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        return file_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        process = node.gateway.id
        file = next_file(longest_first(self.workqueue, self._seconds), process, self._homes)
        if stack := stack_of(file):
            self._homes.setdefault(stack, process)
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)


class Recorder:
    """Adds up how long each file takes, set-up and tear-down included."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[file_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Renew the record; files that did not run keep what they have."""
        merged = recorded_seconds() | {file: round(it) for file, it in self.seconds.items()}
        kept = {
            file: seconds
            for file, seconds in sorted(merged.items())
            if seconds > SHORT_SECONDS and Path(file).exists()
        }
        RECORD.write_text(json.dumps(kept, indent=1) + "\n")
