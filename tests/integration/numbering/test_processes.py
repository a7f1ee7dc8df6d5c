"""Several processes on one port: their parent notices what happens to them at any moment."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from uvicorn.config import STARTUP_FAILURE

from local_stack.ports import choose_port
from numbering_service.processes import SILENT_AT_END_SECONDS
from tests.children import suspended
from tests.fault.rig.processes import serving_below
from tests.fault.rig.small_disk import small_disk
from tests.integration.numbering.surroundings import (
    CHATS,
    MESSAGES,
    Numbering,
    Process,
    Valkey,
    request,
)
from tests.polling import eventually, wait_until
from tests.stopwatch import Stopwatch

# Within which a service has ended after SIGTERM.
PROMISED_SECONDS = 10
# The same with a process that is silent meanwhile.
FROZEN_SECONDS = SILENT_AT_END_SECONDS + 3
GAUGES = ("chat_numbering_waiting", "chat_backlog_entries", "chat_backlog_oldest_age_seconds")
PREFORK = {"NUMBERING_PROCESSES": "2"}
# As on a full disk, or one that is read-only.
WITHOUT_TEMPORARY_FILES = """
import sys, tempfile
tempfile.tempdir = '/nonexistent'
from numbering_service.__main__ import main
sys.exit(main())
"""
# Without a pool of threads the service cannot start.
WITHOUT_THREADS = """
import concurrent.futures

def fail(**_):
    raise OSError("no more threads")

concurrent.futures.ThreadPoolExecutor = fail
"""


@pytest.fixture
def service(tmp_path: Path, valkey: Valkey) -> Iterator[Numbering]:
    with Numbering(tmp_path, valkey.url, "http://127.0.0.1:1", **PREFORK) as running:
        wait_until(lambda: len(serving(running)) == 2, 60)
        yield running


def serving(service: Numbering) -> list[psutil.Process]:
    return serving_below(service.popen.pid)


def ask_to_replace(service: Numbering) -> psutil.Process:
    """Send SIGHUP; return the first new process."""
    before = set(serving(service))
    service.popen.send_signal(signal.SIGHUP)
    (new,) = eventually(lambda: set(serving(service)) - before, bool, 60)
    return new


def check_that_it_ends_in_time(service: Numbering, seconds: float = PROMISED_SECONDS) -> None:
    left = psutil.Process(service.popen.pid).children(recursive=True)
    end_in_time(service, signal.SIGTERM, seconds)
    assert psutil.wait_procs(left, timeout=30)[1] == []


def end_in_time(
    service: Numbering, number: signal.Signals, seconds: float = PROMISED_SECONDS
) -> None:
    with Stopwatch() as watch:
        assert service.end(number) == 0
    assert watch.seconds < seconds


def test_a_gauge_has_one_value_for_all_processes(service: Numbering) -> None:
    for _ in range(2):  # the first one might have left its values for the second
        body = request(service.port, "GET", "/metrics").body.decode()
        lines = [line for line in body.splitlines() if line.startswith(GAUGES)]
        assert [line.split(" ")[0] for line in lines] == list(GAUGES)


def test_frozen_processes_do_not_hold_up_the_end(service: Numbering) -> None:
    with suspended(serving(service)):
        check_that_it_ends_in_time(service, FROZEN_SECONDS)


def test_a_process_that_is_being_started_does_not_hold_up_the_end(service: Numbering) -> None:
    with suspended([ask_to_replace(service)]):
        check_that_it_ends_in_time(service, FROZEN_SECONDS)


def test_a_process_that_is_replaced_and_serves_does_not_hold_up_the_end(
    service: Numbering,
) -> None:
    """The signal comes while the parent waits for the end of one that has a request under way."""
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        ask_to_replace(service)
        wait_until(lambda: "Shutting down" in service.log.read_text(), 60)
        check_that_it_ends_in_time(service)


def test_a_new_process_that_dies_replaces_none(service: Numbering) -> None:
    before = serving(service)
    new = ask_to_replace(service)
    with suspended([new]):
        new.kill()
    said = "a new process was not ready: none is replaced"
    wait_until(lambda: said in service.log.read_text(), 20)
    assert serving(service) == before
    assert request(service.port, "GET", "/health/live").status == 200


def test_a_killed_process_is_replaced(service: Numbering) -> None:
    first, second = serving(service)
    first.kill()
    wait_until(lambda: len(set(serving(service)) - {first}) == 2, 20)
    assert second in serving(service)
    check_that_it_ends_in_time(service)


def test_a_process_that_dies_while_it_is_to_be_replaced_is_replaced_once(
    service: Numbering,
) -> None:
    first, second = serving(service)
    with suspended([ask_to_replace(service)]):
        first.kill()
        wait_until(lambda: "a process died: replaced" in service.log.read_text(), 20)
    wait_until(lambda: not second.is_running(), 60)
    wait_until(lambda: len(serving(service)) == 2, 60)
    check_that_it_ends_in_time(service)


def test_the_terminals_signals_reach_the_processes_through_their_parent(
    service: Numbering,
) -> None:
    before = serving(service)
    for each in before:
        each.send_signal(signal.SIGINT)
        each.send_signal(signal.SIGHUP)
    assert request(service.port, "GET", "/health/live").status == 200
    assert serving(service) == before
    end_in_time(service, signal.SIGINT)
    assert "Traceback" not in service.log.read_text()


def test_a_full_disk_of_the_metrics_costs_no_process(tmp_path: Path, valkey: Valkey) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        Numbering(
            tmp_path, valkey.url, "http://127.0.0.1:1", TMPDIR=str(disk.path), **PREFORK
        ) as service,
    ):
        wait_until(lambda: len(serving(service)) == 2, 60)
        wait_until(lambda: service.log.read_text().count("startup complete") == 2, 60)
        disk.fill()
        before = serving(service)
        # Each status and route has counters of its own, which are written a moment later.
        for path in ("/health/live", "/metrics", "/nowhere", CHATS, MESSAGES) * 5:
            assert request(service.port, "GET", path).status in (200, 404, 405)
        time.sleep(1)
        assert serving(service) == before
        before[0].kill()
        wait_until(lambda: service.log.read_text().count("startup complete") == 3, 60)
        assert "metrics are not shared" in service.log.read_text()
        assert {request(service.port, "GET", "/metrics").status for _ in range(20)} == {200}
        disk.make_room()


def test_a_service_that_cannot_start_says_so_by_its_exit_code(
    tmp_path: Path, valkey: Valkey
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_THREADS)
    own = {"REDIS_URL": valkey.url, "PYTHONPATH": str(tmp_path), **PREFORK}
    own["NUMBERING_PORT"] = str(choose_port())
    command = [sys.executable, "-m", "numbering_service"]
    with Process(tmp_path / "failed.log", command, **own) as failed:
        assert failed.popen.wait(60) == STARTUP_FAILURE, failed.log.read_text()


def test_a_service_without_room_for_temporary_files_says_so_in_one_line(
    tmp_path: Path, valkey: Valkey
) -> None:
    own = {"REDIS_URL": valkey.url, "NUMBERING_PORT": str(choose_port()), **PREFORK}
    command = [sys.executable, "-c", WITHOUT_TEMPORARY_FILES]
    with Process(tmp_path / "failed.log", command, **own) as failed:
        assert failed.popen.wait(60) == 2
    [line] = failed.log.read_text().splitlines()
    assert line.startswith("numbering_service: no directory for shared metrics: ")


def test_processes_start_where_the_systems_encoding_is_not_utf_8(
    tmp_path: Path, valkey: Valkey
) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Numbering(tmp_path, valkey.url, "http://127.0.0.1:1", **ascii_only) as running:
        assert request(running.port, "GET", "/docs").status == 200
