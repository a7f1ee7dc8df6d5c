"""Several processes share the tests so that none of them is left with a long file at the end."""

import re
from collections import Counter

import pytest

from local_stack.applications import ROOT
from tests import scheduling
from tests.scheduling import longest_first, next_file, recorded_seconds

FAULT = [f"tests/fault/test_{name}.py" for name in "abc"]
HOSTILE = [f"tests/hostile/test_{name}.py" for name in "ab"]
UNIT = [f"tests/unit/test_{name}.py" for name in "abc"]


def test_the_longest_file_comes_first_and_an_unknown_one_is_short() -> None:
    seconds = {UNIT[1]: 5.0, UNIT[2]: 100.0}
    assert longest_first(UNIT, seconds) == [UNIT[2], UNIT[1], UNIT[0]]


def test_files_that_share_a_stack_count_as_one() -> None:
    seconds = dict.fromkeys(FAULT, 40.0) | {UNIT[0]: 100.0}
    assert longest_first([*UNIT[:1], *FAULT], seconds) == [*FAULT, UNIT[0]]


def test_a_process_keeps_the_files_of_the_stack_that_it_has_started() -> None:
    assert next_file([UNIT[0], FAULT[1]], "gw0", {"stack with links": "gw0"}) == FAULT[1]


def test_a_process_does_other_files_before_it_starts_a_second_stack() -> None:
    homes = {"stack with links": "gw0"}
    assert next_file([*FAULT, *UNIT], "gw1", homes) == UNIT[0]
    assert next_file(FAULT, "gw1", homes) == FAULT[0]


def test_each_stack_is_started_once_and_no_process_is_idle_for_long() -> None:
    """What the processes would do: each takes the next file when it is done with the last."""
    seconds = {**dict.fromkeys(FAULT, 100.0), **dict.fromkeys(HOSTILE, 120.0)}
    seconds |= dict.fromkeys(UNIT, 20.0)
    queue, homes = longest_first(seconds, seconds), dict[str, str]()
    busy_until, started = Counter({"gw0": 0.0, "gw1": 0.0}), Counter[str]()
    while queue:
        process = min(busy_until, key=lambda name: busy_until[name])
        file = next_file(queue, process, homes)
        queue.remove(file)
        if stack := scheduling.stack_of(file):
            started[stack] += homes.get(stack) != process
            homes.setdefault(stack, process)
        busy_until[process] += seconds[file]
    assert started == {"stack with links": 1, "stack": 1}
    assert busy_until == {"gw0": 300.0, "gw1": 300.0}


@pytest.mark.parametrize("place", scheduling.STACKS)
def test_the_folders_and_files_with_a_stack_exist(place: str) -> None:
    assert any((ROOT / place).glob("test_*.py")) or (ROOT / place).is_file()


def test_files_that_ask_for_elasticsearch_go_where_it_runs() -> None:
    asking = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"\belasticsearch_url[:,]", path.read_text())
    ]
    assert {scheduling.stack_of(file) for file in asking} == {"Elasticsearch"}


@pytest.mark.parametrize("file", sorted(scheduling.ALONE))
def test_files_that_need_no_stack_ask_for_none(file: str) -> None:
    text = (ROOT / file).read_text()
    assert re.search(r"\b(linked|index_check|under_load):", text) is None
    assert scheduling.stack_of(file) is None


def test_the_chat_page_has_a_stack_of_its_own() -> None:
    names = ("tests/end_to_end/test_chain.py", "tests/end_to_end/demo_page/test_two_windows.py")
    assert [scheduling.stack_of(name) for name in names] == ["stack", "stack with the chat page"]


def test_every_file_of_the_record_exists() -> None:
    assert [file for file in recorded_seconds() if not (ROOT / file).exists()] == []
