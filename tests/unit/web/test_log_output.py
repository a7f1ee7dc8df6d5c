"""Log lines that cannot be written are dropped and counted, and nobody waits for them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.applications import ROOT
from web.log_output import MAX_PENDING_BYTES, LogOutput

LINE = b'{"message": "a line"}\n'
# More than a pipe and the output hold together.
TOO_MUCH = MAX_PENDING_BYTES * 3
Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def read_all(reading: int, output: LogOutput) -> bytes:
    """Return what arrives until the output has nothing left."""
    os.set_blocking(reading, False)
    data, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        is_done = output.drain(0.01)
        try:
            data += os.read(reading, 1 << 20)
        except BlockingIOError:
            if is_done:
                return data
    raise AssertionError("the output does not end")


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        output = LogOutput(log.fileno())
        for number in range(1000):
            output.write(b"%d\n" % number)
        assert output.drain()
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(1000))


def test_a_stalled_log_reader_costs_lines_and_a_bounded_amount_of_memory(pipe: Pipe) -> None:
    reading, writing = pipe
    dropped: list[int] = []
    output = LogOutput(writing, "tests", dropped.append)
    written = 0
    while written < TOO_MUCH:
        output.write(LINE * 1000)
        written += len(LINE) * 1000
    assert not output.drain(0.01)
    kept = read_all(reading, output)
    assert len(kept) < 2 * MAX_PENDING_BYTES + 200_000
    output.write(LINE)
    kept += read_all(reading, output)
    assert sum(dropped) > 0
    assert kept.count(LINE) + sum(dropped) == written // len(LINE) + 1
    # The writer may have got on in between, and found more missing later.
    notices = [json.loads(line) for line in kept.splitlines(keepends=True) if line != LINE]
    expected = {"level": "warning", "service": "tests", "message": "log lines dropped"}
    assert all(notice.items() >= expected.items() for notice in notices)
    assert sum(notice["lines"] for notice in notices) == sum(dropped)


def test_a_full_disk_costs_lines_until_there_is_room(tmp_path: Path) -> None:
    path, dropped = tmp_path / "log", [0]
    full = os.open("/dev/full", os.O_WRONLY)
    output = LogOutput(full, "tests", dropped.append)
    for _ in range(3):
        output.write(LINE * 2)
        assert output.drain()
    assert sum(dropped) == 6
    with path.open("wb") as log:
        os.dup2(log.fileno(), full)
    output.write(LINE)
    assert output.drain()
    os.close(full)
    notice, line = path.read_bytes().splitlines(keepends=True)
    assert (json.loads(notice)["lines"], line) == (6, LINE)


FULL_AFTER_TWELVE_BYTES = """
import os, resource, signal, sys
from web.log_output import LogOutput
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
output = LogOutput(1, "tests")
resource.setrlimit(resource.RLIMIT_FSIZE, (12, resource.RLIM_INFINITY))
output.write(b"0123456789\\nabcdef\\n")
assert output.drain()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
output.write(b"again\\n")
assert output.drain()
"""


def run(script: str, stdout: Path) -> None:
    with stdout.open("wb") as log:
        command = [sys.executable, "-c", script]
        subprocess.run(command, cwd=ROOT, stdout=log, check=True, timeout=60)


def test_a_truncated_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    run(FULL_AFTER_TWELVE_BYTES, tmp_path / "log")
    first, cut, notice, again = (tmp_path / "log").read_bytes().splitlines()
    assert (first, cut, again) == (b"0123456789", b"a", b"again")
    assert json.loads(notice)["lines"] == 1


FORKING = """
import os, time
from web.log_output import LogOutput
output = LogOutput(1, "tests")
output.write(b"parent\\n")
child = os.fork()
output.write(b"child\\n" if child == 0 else b"parent again\\n")
assert output.drain()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_logs_its_own_lines_and_none_of_its_parents(tmp_path: Path) -> None:
    run(FORKING, tmp_path / "log")
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert sorted(lines) == [b"child", b"parent", b"parent again"]


LAST_WORDS = """
import logging
from web.json_logs import configure
configure("tests", "info")
logging.info("last words")
"""


def test_the_last_lines_of_a_process_are_written(tmp_path: Path) -> None:
    run(LAST_WORDS, tmp_path / "log")
    assert json.loads((tmp_path / "log").read_text())["message"] == "last words"


def test_a_process_with_a_stalled_reader_still_exits(pipe: Pipe) -> None:
    script = LAST_WORDS + "logging.info('x' * 1_000_000)"
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=ROOT, stdout=pipe[1], check=True, timeout=30)


def test_a_full_pipe_that_another_process_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    output = LogOutput(writing)
    lines = LINE * 10_000
    output.write(lines)
    assert not output.drain(0.05)
    assert read_all(reading, output) == lines
