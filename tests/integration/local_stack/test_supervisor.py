"""The supervisor, with real processes that stand in for ours."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import psutil
import pytest

from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.process import Part, ask_to_end, end_leftovers
from local_stack.stores.elasticsearch import server_pid
from local_stack.stores.postgres import remove_stale_lock
from local_stack.supervisor import Supervisor
from tests.children import child, is_running
from tests.polling import wait_until

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.create()
    return made


@pytest.fixture
def supervisor(layout: Layout) -> Iterator[Supervisor]:
    with supervising(layout) as running:
        yield running


@contextmanager
def supervising(layout: Layout, **options: float) -> Iterator[Supervisor]:
    """Make a supervisor, whose parts end with the block."""
    running = Supervisor(layout, **options)
    try:
        yield running
    finally:
        running.stop()


def part(
    name: str, command: tuple[str, ...] = SLEEP, ready: Callable[[], bool] = lambda: True
) -> Part:
    return Part(name, command, is_ready=ready)


def read_pid(layout: Layout, name: str) -> int:
    return int((layout.pids / name).read_text())


def watch_until(supervisor: Supervisor, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Run the supervisor in this thread until a condition holds."""
    deadline = time.monotonic() + seconds

    def look() -> float:
        supervisor.stopping = condition() or time.monotonic() > deadline
        return 0.05

    supervisor.run(meanwhile=look)
    assert condition()


def test_a_killed_process_is_restarted_under_a_new_pid(
    supervisor: Supervisor, layout: Layout
) -> None:
    supervisor.start([part("one"), part("two")])
    dead, other = read_pid(layout, "one"), read_pid(layout, "two")
    os.kill(dead, signal.SIGKILL)
    watch_until(supervisor, lambda: read_pid(layout, "one") != dead)
    assert psutil.pid_exists(read_pid(layout, "one"))
    assert read_pid(layout, "two") == other


class FullDisk(Layout):
    """A layout on a disk that may be full: neither pids nor logs can be written then."""

    is_full = False

    def write_pid(self, name: str, pid: int) -> None:
        self.check()
        super().write_pid(name, pid)

    def open_log(self, name: str) -> IO[bytes]:
        if name == "log":
            self.check()
        return super().open_log(name)

    def check(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.directory))


@pytest.mark.parametrize("name", ["pid", "log"])
def test_a_full_disk_does_not_end_the_supervisor(tmp_path: Path, name: str) -> None:
    layout = FullDisk(tmp_path)
    layout.create()
    with supervising(layout, longest_pause=0.5) as supervisor:
        supervisor.start([part(name)])
        dead = read_pid(layout, name)
        layout.is_full = True
        os.kill(dead, signal.SIGKILL)
        full_until = time.monotonic() + 1
        watch_until(supervisor, lambda: time.monotonic() > full_until)
        layout.is_full = supervisor.stopping = False
        watch_until(supervisor, lambda: read_pid(layout, name) != dead)
        assert psutil.pid_exists(read_pid(layout, name))


def test_a_part_that_cannot_be_prepared_is_started_later(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that runs compiled sources, while they are being changed."""
    refused = False
    asked_again = 0

    def variables() -> dict[str, str]:
        nonlocal asked_again
        if refused:
            asked_again += 1
            raise StackError("not compiled")
        return {}

    with supervising(layout, longest_pause=0.1) as supervisor:
        supervisor.start([replace(part("one"), environment_at_start=variables)])
        dead = read_pid(layout, "one")
        refused = True
        os.kill(dead, signal.SIGKILL)
        watch_until(supervisor, lambda: asked_again > 1)
        assert "one can't be started now: not compiled" in capsys.readouterr().out
        refused = supervisor.stopping = False
        watch_until(supervisor, lambda: read_pid(layout, "one") != dead)
        assert psutil.pid_exists(read_pid(layout, "one"))


def test_children_of_a_dead_process_end_with_it(supervisor: Supervisor, layout: Layout) -> None:
    named = layout.directory / "child"
    script = f"sleep 600 & echo $! > {named}; wait"
    supervisor.start([part("parent", ("/bin/sh", "-c", script))])
    wait_until(lambda: named.exists() and bool(named.read_text().strip()), 60)
    orphan = int(named.read_text())
    dead = read_pid(layout, "parent")
    os.kill(dead, signal.SIGKILL)
    watch_until(supervisor, lambda: not is_running(orphan))


def test_a_process_that_dies_at_once_is_not_restarted_in_a_tight_loop(
    supervisor: Supervisor, layout: Layout
) -> None:
    starts = layout.directory / "starts"
    supervisor.start([part("broken", ("/bin/sh", "-c", f"echo x >> {starts}; exit 3"))])
    begun = time.monotonic()

    def count() -> int:
        return len(starts.read_text().splitlines())

    watch_until(supervisor, lambda: time.monotonic() > begun + 2 and count() >= 3)
    assert count() <= 4 + (time.monotonic() - begun)


def test_the_supervisor_looks_only_when_something_happens(
    supervisor: Supervisor, layout: Layout
) -> None:
    looks = []

    def look() -> float | None:
        looks.append(time.monotonic())
        if read_pid(layout, "two") != first:
            supervisor.stopping = True
        return None

    script = "import time; time.sleep(4); raise SystemExit(3)"
    supervisor.start([part("one"), part("two", (sys.executable, "-c", script))])
    first = read_pid(layout, "two")
    supervisor.run(meanwhile=look)
    assert len(looks) == 2


def test_a_part_that_is_being_replaced_stays_dead_until_it_is(
    supervisor: Supervisor, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def is_being_replaced() -> bool:
        nonlocal asked
        asked += 1
        assert not psutil.pid_exists(dead)
        return asked < 4

    supervisor.start([replace(part("one"), is_being_replaced=is_being_replaced)])
    dead = read_pid(layout, "one")
    os.kill(dead, signal.SIGKILL)
    watch_until(supervisor, lambda: read_pid(layout, "one") != dead, 30)
    assert asked == 4
    assert "restarting it once another has taken its place" in capsys.readouterr().out


def test_a_stop_signal_ends_the_wait_at_once(supervisor: Supervisor) -> None:
    supervisor.start([part("one")])
    before = signal.signal(signal.SIGUSR1, lambda *_: supervisor.ask_to_stop())
    with child(["/bin/sh", "-c", f"sleep 0.5; kill -USR1 {os.getpid()}"]):
        supervisor.run()
    signal.signal(signal.SIGUSR1, before)
    assert supervisor.stopping


def test_the_real_process_behind_a_command_is_named_once_it_exists(
    supervisor: Supervisor, layout: Layout
) -> None:
    script = "sleep 1; sleep 600 & wait"
    behind = Part(
        "behind", ("/bin/sh", "-c", script), is_ready=lambda: True, find_pid=second_child_of
    )
    supervisor.start([behind])
    command = read_pid(layout, "behind")
    watch_until(supervisor, lambda: read_pid(layout, "behind") != command)
    assert psutil.Process(read_pid(layout, "behind")).cmdline() == ["sleep", "600"]


def test_the_real_process_is_asked_to_stop_though_nobody_looked_since_it_started(
    supervisor: Supervisor,
) -> None:
    """As while a stack starts, which does not wait for Elasticsearch."""
    script = "trap : TERM; sleep 600 & while kill -0 $!; do wait $!; done"
    behind = Part(
        "behind",
        ("/bin/sh", "-c", script),
        is_ready=lambda: True,
        find_pid=second_child_of,
        stop_seconds=20,
    )
    (running,) = supervisor.start([behind])
    command = running.process
    wait_until(lambda: second_child_of(command.pid) != command.pid, 60)
    running.stop()
    assert running.how_it_died() == "exit code 143"  # that of `wait`


START_OF_A_SERVER = """
sh -c "sleep 1; true" java &
sh -c "sleep 600; true" java -m org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch &
echo $! > {server}
wait
"""


def test_elasticsearch_itself_is_not_mistaken_for_its_launcher(tmp_path: Path) -> None:
    named = tmp_path / "server"
    script = START_OF_A_SERVER.format(server=named)
    with child(["/bin/sh", "-c", script], start_new_session=True) as command:
        try:
            wait_until(lambda: named.exists() and bool(named.read_text().strip()), 60)
            server = int(named.read_text())
            wait_until(lambda: server_pid(command.pid) == server, 60)
        finally:
            os.killpg(command.pid, signal.SIGKILL)


def second_child_of(pid: int) -> int:
    children = psutil.Process(pid).children()
    with suppress(psutil.NoSuchProcess):  # the first one has just ended: look again later
        return next((child.pid for child in children if child.cmdline() == ["sleep", "600"]), pid)
    return pid


IDLE = """
import sys
from pathlib import Path
import psutil
from local_stack.layout import Layout
from local_stack.process import Part
from local_stack.supervisor import Supervisor
layout = Layout(Path(sys.argv[1]))
layout.create()
supervisor = Supervisor(layout)
parts = [Part(name, ("/bin/sleep", "600"), is_ready=bool) for name in "abcde"]
command = ("/bin/sh", "-c", "sleep 600 & wait")
find_pid = lambda pid: next((p.pid for p in psutil.Process(pid).children()), pid)
parts.append(Part("behind", command, is_ready=bool, find_pid=find_pid))
supervisor.start(parts)
started = layout.directory / "started"
supervisor.run(meanwhile=started.touch)
"""
WATCHED_SECONDS = 5.0


def test_an_idle_supervisor_uses_no_cpu(layout: Layout) -> None:
    with child([sys.executable, "-c", IDLE, str(layout.directory)]) as process:
        started = layout.directory / "started"
        wait_until(started.exists, 20)
        before = cpu_seconds(process.pid)
        time.sleep(WATCHED_SECONDS)
        used = cpu_seconds(process.pid) - before
        process.kill()
    # A hundredth of a core, on a machine however busy: it does not count others' time.
    assert used < WATCHED_SECONDS / 100


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


WRITING = "echo before; while [ ! -e {named} ]; do sleep 0.05; done; echo after; exec sleep 600"


def test_a_large_log_is_rotated_while_its_part_writes_to_it(
    supervisor: Supervisor, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_stack.layout.LOG_ROTATED_AT_BYTES", 6)
    named, log, former = (layout.logs / name for name in ("go on", "one.log", "one.log.1"))
    script = WRITING.format(named=shlex.quote(str(named)))
    supervisor.start([part("one", ("/bin/sh", "-c", script))])
    wait_until(lambda: log.read_text() == "before\n", 60)
    watch_until(supervisor, lambda: log.stat().st_size == 0)
    assert former.read_text() == "before\n"
    named.touch()
    wait_until(lambda: log.read_text() == "after\n", 60)


def test_a_log_that_cannot_be_copied_is_kept(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_stack.layout.LOG_ROTATED_AT_BYTES", 6)
    log = layout.logs / "one.log"
    log.write_text("before\n")
    (layout.logs / "one.log.1").mkdir()
    layout.rotate_logs()
    assert log.read_text() == "before\n"


def test_a_process_that_does_not_start_is_named_with_its_last_line(supervisor: Supervisor) -> None:
    command = ("/bin/sh", "-c", "echo no such thing; exit 3")
    started = supervisor.start([part("broken", command, ready=lambda: False)])
    with pytest.raises(StackError, match=r"broken does not start \(exit code 3\): no such thing"):
        supervisor.wait_ready(started)


def test_parts_are_waited_for_at_once_and_each_is_timed(
    supervisor: Supervisor, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    late = layout.directory / "late"
    script = f"sleep 4; touch {late}; sleep 600"
    parts = [part("slow", ("/bin/sh", "-c", script), late.exists), part("quick")]
    supervisor.wait_ready(supervisor.start(parts))
    # A machine that stands still also has it say what is waited for.
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    quick, slow = (words for words in said if words[0] != "waiting")
    assert (quick[1], slow[1]) == ("quick", "slow")
    assert float(quick[2]) < 4 <= float(slow[2])


def test_processes_stop_in_the_given_order_and_the_others_after_them(
    supervisor: Supervisor, layout: Layout
) -> None:
    ended = layout.directory / "ended"
    names = ("store", "worker", "front-1")
    for name in names:
        ready = layout.directory / f"{name}.ready"
        script = f"trap 'echo {name} >> {ended}; exit 0' TERM; touch {ready}; sleep 600 & wait"
        command = ("/bin/sh", "-c", script)
        supervisor.wait_ready(supervisor.start([part(name, command, ready.exists)]))
    supervisor.stop(in_order=("front", "worker"))
    assert ended.read_text().split() == ["front-1", "worker", "store"]


def test_what_runs_before_a_part_that_cannot_be_started_is_stopped(
    supervisor: Supervisor, layout: Layout
) -> None:
    def refuse() -> dict[str, str]:
        raise StackError("not compiled")

    with pytest.raises(StackError, match="not compiled"):
        supervisor.start([part("first"), replace(part("second"), environment_at_start=refuse)])
    first = read_pid(layout, "first")
    assert is_running(first)
    supervisor.stop()
    assert not is_running(first)


def test_a_process_that_ignores_its_signal_is_killed(
    supervisor: Supervisor, layout: Layout
) -> None:
    ignoring = layout.directory / "ignoring"
    command = ("/bin/sh", "-c", f"trap '' TERM; touch {ignoring}; sleep 600")
    stubborn = Part("stubborn", command, is_ready=ignoring.exists, stop_seconds=0.3)
    [started] = supervisor.start([stubborn])
    supervisor.wait_ready([started])
    supervisor.stop()
    assert started.process.returncode == -signal.SIGKILL


START_AND_HANG = """
import sys, time
from pathlib import Path
from local_stack.layout import Layout
from local_stack.process import Part
from local_stack.supervisor import Supervisor
layout = Layout(Path(sys.argv[1]))
Supervisor(layout).start([Part("one", tuple(sys.argv[2:]), is_ready=bool)])
time.sleep(600)
"""


@contextmanager
def supervisor_elsewhere(layout: Layout, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a supervisor in a separate process, with one running part."""
    arguments = [str(layout.directory), *command]
    with child([sys.executable, "-c", START_AND_HANG, *arguments]) as other:
        started = layout.directory / "started"
        wait_until(started.exists, 60)
        yield other


def test_processes_die_with_a_killed_supervisor(layout: Layout) -> None:
    script = f"touch {layout.directory / 'started'}; exec sleep 600"
    with supervisor_elsewhere(layout, "/bin/sh", "-c", script) as other:
        pid = read_pid(layout, "one")
        other.kill()
    wait_until(lambda: not is_running(pid), 60)


def test_leftovers_of_a_killed_supervisor_are_ended_and_strangers_are_not(layout: Layout) -> None:
    script = f"trap '' TERM; touch {layout.directory / 'started'}; sleep 600"
    with child(SLEEP) as stranger:
        with supervisor_elsewhere(layout, "/bin/sh", "-c", script) as other:
            pid = read_pid(layout, "one")
            other.kill()
        # A pid file may name, by now, a process that has nothing to do with us.
        layout.write_pid("two", stranger.pid)
        assert psutil.pid_exists(pid)
        assert end_leftovers(layout.directory) >= 1
        assert not is_running(pid)
        assert stranger.poll() is None
        stranger.kill()


def test_a_leftover_that_ends_with_another_one_is_passed_over() -> None:
    with child(SLEEP) as ended:
        leftover = psutil.Process(ended.pid)
        ended.kill()
        ended.wait()
    ask_to_end(leftover)


def test_a_lock_file_of_postgresql_is_removed_if_another_program_has_its_number(
    tmp_path: Path,
) -> None:
    program, lock = tmp_path / "postgres", tmp_path / "postmaster.pid"
    program.symlink_to(str(shutil.which("sleep")))
    with child(SLEEP) as stranger, child([str(program), "600"]) as server:
        wait_until(lambda: psutil.Process(server.pid).name() == "postgres", 60)
        assert not lock_stays(lock, stranger.pid)
        assert lock_stays(lock, server.pid)
        server.kill()
        server.wait()
        assert lock_stays(lock, server.pid)
        stranger.kill()


def lock_stays(lock: Path, pid: int) -> bool:
    lock.write_text(f"{pid}\n/data\n")
    remove_stale_lock(lock)
    return lock.exists()
