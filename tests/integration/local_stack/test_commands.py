"""`make demo`, `status`, `logs`, `stop` and `reset` as one types them, on a real stack."""

import errno
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.layout import Layout
from local_stack.ports import PLAIN_HTTP, choose_port
from local_stack.process import MARK, Running
from local_stack.stores.valkey import redis_url, valkey
from tests.api_client import Api
from tests.children import child, is_running
from tests.fault.rig.verify import readiness
from tests.guide import commands
from tests.polling import wait_until

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ON_TERMINAL = {"TERM": "xterm", "NO_COLOR": ""}
SERVICES = ("numbering", "crud", "worker")
COMMAND = (sys.executable, "-m", "local_stack")


pytestmark = pytest.mark.usefixtures("interruptible")


def running(
    directory: Path, command: str, stdin: int = subprocess.DEVNULL, **environment: str
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run a command until the end of the block."""
    return child(
        [*COMMAND, command],
        cwd=ROOT,
        env={**os.environ, "LOCAL_DIR": str(directory), **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(directory: Path, command: str, **environment: str) -> tuple[int, str]:
    """Return a command's exit code and what it printed, to no terminal."""
    with running(directory, command, **environment) as process:
        output, _ = process.communicate(timeout=120)
    return process.returncode, output


def run_on_terminal(
    directory: Path, command: str, typed: str = "", **environment: str
) -> tuple[int, str]:
    """Return a command's exit code and what it printed on a terminal where something is typed."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with child(
        [*COMMAND, command],
        cwd=ROOT,
        env={**os.environ, "LOCAL_DIR": str(directory), **ON_TERMINAL, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        output = b"".join(read_terminal(ours)).decode()
        os.close(ours)
        return process.wait(60), output


def read_terminal(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(descriptor, 65536)
        except OSError as error:  # which is how Linux says that nobody writes any more
            if error.errno == errno.EIO:
                return
            raise


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings that are not the defaults, with a broker that runs."""
    layout, port = Layout(tmp_path_factory.mktemp("broker")), choose_port()
    layout.create()
    broker = Running(valkey(layout, port, "broker"), layout)
    broker.wait_ready()
    yield {"BROKER_URL": redis_url(port), "SEARCH_INDEX": "chosen", "SHARDS": "2"}
    broker.stop()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, str]
) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("stack")
    with RunningStack(directory, environment={"WITHOUT_ELASTICSEARCH": "1", **chosen}) as running:
        yield running


def directory_of(stack: RunningStack) -> Path:
    return stack.layout.directory


def test_management_commands_get_the_settings_of_the_services(
    stack: RunningStack, chosen: dict[str, str]
) -> None:
    environment = stack.layout.read_env()
    assert {name: environment.get(name) for name in chosen} == chosen


def test_each_part_is_named_with_the_time_that_it_took(stack: RunningStack) -> None:
    output = stack.output()
    for name in ("postgres", "valkey", "tables", "crud", "worker", "numbering"):
        assert re.search(rf"^✓ {name} +\d+\.\d s$", output, re.MULTILINE), output
    assert "\x1b" not in output
    end = output.partition("ready after")[2]
    for wanted in (
        stack.crud_url,
        f"{stack.numbering_url}/docs",
        f"{stack.crud_url}/admin/",
        f"curl -X POST {stack.crud_url}/applications",
        f"make stop LOCAL_DIR={directory_of(stack)}",
    ):
        assert wanted in end


def test_the_status_names_every_part(stack: RunningStack) -> None:
    code, output = run(directory_of(stack), "status")
    first, *parts = output.splitlines()
    assert (code, first.endswith(": ok")) == (0, True), output
    for name in ("postgres", "valkey", "crud", "worker", "numbering"):
        (line,) = [line for line in parts if line.split()[0] == name]
        assert f" pid {stack.pid(name)} " in line
    assert stack.crud_url in output
    assert stack.numbering_url in output


def test_the_demo_is_coloured_on_a_terminal_only(stack: RunningStack) -> None:
    code, coloured = run_on_terminal(directory_of(stack), "demo")
    assert code == 0, coloured
    assert "\x1b[32m201 Created\x1b[0m" in coloured
    code, plain = run(directory_of(stack), "demo")
    assert (code, ESCAPE.search(plain)) == (0, None)


def test_a_terminal_without_colours_gets_none(stack: RunningStack) -> None:
    for variable, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        code, output = run_on_terminal(directory_of(stack), "status", **{variable: value})
        assert (code, re.search(r"\x1b\[[0-9;]*m", output)) == (0, None)
    _, coloured = run_on_terminal(directory_of(stack), "status", NO_COLOR="")
    assert "\x1b[32mok\x1b[0m" in coloured


def test_what_the_demo_says_to_do_next_works(stack: RunningStack) -> None:
    _, output = run(directory_of(stack), "demo")
    after = output.partition("What next")[2]
    (write,) = re.findall(r"curl (\S+/messages -d .*)$", after, re.MULTILINE)
    command = f"curl -sS --noproxy '*' {write}"
    written = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert '"number":4' in written.stdout
    token, number = re.findall(r"/applications/(\w+)/chats/(\d+)/messages", write)[0]
    assert f" {stack.crud_url}/demo#/{token}/{number}\n" in after
    assert f"make logs LOCAL_DIR={directory_of(stack)}" in after


def test_logs_follow_the_chosen_parts_and_are_legible(stack: RunningStack) -> None:
    with running(directory_of(stack), "logs", PART="numbering", N="5") as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(5)]
        assert all(line[13:].startswith("numbering ") for line in first), first
        path = "/applications/abcdefghijklmnopqrstuvwx/chats"
        httpx.post(f"{stack.numbering_url}{path}", timeout=60, **PLAIN_HTTP)
        line = next(line for line in process.stdout if "abcd…" in line)
        expected = r"\d\d:\d\d:\d\d\.\d{3} numbering +info +POST /applications/abcd…/chats 404 in "
        assert re.match(expected, line), line
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_reader_that_leaves_ends_the_logs(stack: RunningStack) -> None:
    with running(directory_of(stack), "logs", N="3") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        httpx.get(f"{stack.crud_url}/applications?limit=1", timeout=60, **PLAIN_HTTP)
        assert process.wait(60) == 0


def test_an_unknown_part_of_the_logs_is_named(stack: RunningStack) -> None:
    code, output = run(directory_of(stack), "logs", PART="wroker")
    assert code == 1
    assert "PART=wroker is none of crud, worker, numbering" in output


def test_a_port_of_a_running_stack_leads_to_the_command_that_works(
    stack: RunningStack, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        numbering = str(other.getsockname()[1])
        crud = str(stack.crud_port)
        code, output = run(tmp_path, "run", CRUD_PORT=crud, NUMBERING_PORT=numbering)
    (line,) = output.splitlines()
    assert code == 1
    assert f"port {crud} is taken by " in line
    assert f"(pid {stack.pid('crud')})" in line
    assert "-m crud_service" in line
    assert f"port {numbering} is taken by " in line
    instead = line.partition("; instead, type: ")[2].split()
    assert instead[:3] == ["make", "run", f"LOCAL_DIR={tmp_path}"]
    for word in instead[3:]:
        with socket.create_server(("127.0.0.1", int(word.partition("=")[2]))):
            pass


def test_services_are_frozen_without_their_stores_and_then_started_again(
    stack: RunningStack, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / ".local").symlink_to(stack.layout.directory)
    before = {name: stack.pid(name) for name in (*SERVICES, "postgres", "valkey")}
    processes = [psutil.Process(before[name]) for name in SERVICES]
    processes += [child for process in processes for child in process.children(recursive=True)]
    freeze, start_again = (
        ["bash", "-euc", commands("Stop the services and leave the stores", position)]
        for position in (0, 1)
    )
    try:
        subprocess.run(freeze, cwd=tmp_path, check=True)
        # A process that was about to sleep in the kernel stops when it is done there.
        wait_until(lambda: {it.status() for it in processes} == {psutil.STATUS_STOPPED}, 60)
    finally:
        subprocess.run(start_again, cwd=tmp_path, check=True)
    for name in SERVICES:
        stack.wait_replaced(name, before[name])
    api = Api(client, stack.crud_url, stack.numbering_url)
    for url in (stack.crud_url, stack.numbering_url):
        wait_until(lambda: readiness(url) == 200, 60)  # noqa: B023
    chat = api.chat(api.application())
    assert api.message(chat, "hello") == 1
    api.wait_for_numbers(f"{chat}/messages", [1], 30)
    assert [stack.pid(name) for name in ("postgres", "valkey")] == list(before.values())[3:]


def test_a_stack_is_stopped_from_elsewhere_and_then_reset(
    stack: RunningStack, tmp_path: Path
) -> None:
    """The last test of the module that uses its stack."""
    directory = directory_of(stack)
    names = ("postgres", "valkey", "crud", "worker", "numbering")
    pids = [stack.pid(name) for name in names]
    code, output = run(directory, "stop")
    assert code == 0, output
    assert output.endswith(f"the data stays in {directory}\n")
    ended = re.findall(r"^✓ (\w+)", output, re.MULTILINE)
    assert sorted(ended) == sorted(names)
    assert ended.index("numbering") < ended.index("worker") < ended.index("postgres")
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert stack.process is not None
    assert stack.process.wait(60) == 0
    assert run(directory, "stop") == (0, f"no stack is running in {directory}\n")
    check_reset(directory, tmp_path)


def check_reset(directory: Path, outside: Path) -> None:
    """The data of a stopped stack is removed once that is confirmed, and nothing else is."""
    (outside / "kept").touch()
    (directory / "cache").symlink_to(outside)
    code, output = run(directory, "reset")
    assert (code, "add FORCE=1" in output) == (1, True)
    code, output = run_on_terminal(directory, "reset", typed="n\n")
    assert (code, "nothing was removed" in output) == (1, True)
    assert (directory / "postgres" / "data" / "PG_VERSION").exists()
    code, output = run_on_terminal(directory, "reset", typed="y\n")
    assert code == 0, output
    assert [path.name for path in directory.iterdir()] == ["supervisor.lock"]
    assert (outside / "kept").exists()
    code, output = run(directory, "reset", FORCE="1")
    assert (code, output) == (0, f"there is nothing to remove in {directory}\n")


@pytest.mark.parametrize("made_by_a_stack", ["postgres", "log", "supervisor.lock"])
def test_a_directory_that_is_not_a_stacks_is_never_emptied(
    tmp_path: Path, made_by_a_stack: str
) -> None:
    (tmp_path / made_by_a_stack).touch()
    if made_by_a_stack == "supervisor.lock":
        (tmp_path / "thesis.tex").touch()
    before = sorted(tmp_path.iterdir())
    code, output = run(tmp_path, "reset", FORCE="1")
    assert (code, "nothing was removed" in output) == (1, True)
    assert sorted(tmp_path.iterdir()) == before


IDLE = """
import sys, time
from pathlib import Path
from local_stack.layout import Layout
layout = Layout(Path(sys.argv[1]))
layout.create()
held = layout.lock()
print("held", flush=True)
time.sleep(600)
"""


def test_reset_stops_what_runs_before_it_removes(tmp_path: Path) -> None:
    with child(
        [sys.executable, "-c", IDLE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        code, output = run(tmp_path, "status")
        assert (code, "starting" in output) == (0, True)
        code, output = run(tmp_path, "demo")
        assert (code, "is still starting" in output) == (1, True)
        code, output = run(tmp_path, "reset", FORCE="1")
        assert code == 0, output
        assert "the data stays" not in output
        assert holder.wait(60) == -signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["supervisor.lock"]


def test_a_process_that_got_the_number_of_a_dead_supervisor_is_left_alone(tmp_path: Path) -> None:
    with child(["sleep", "600"]) as stranger:
        (tmp_path / "supervisor.lock").write_text(f"{stranger.pid}\n")
        code, output = run(tmp_path, "stop")
        assert stranger.poll() is None
        stranger.kill()
    assert (code, output) == (0, f"no stack is running in {tmp_path}\n")


def test_what_a_killed_supervisor_left_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "supervisor.lock").touch()
    # Its parent ends at once, as a killed supervisor does.
    script = "sleep 600 > /dev/null 2>&1 & echo $!"
    environment = {**os.environ, MARK: str(Layout(tmp_path).directory)}
    started = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, check=True)
    assert run(tmp_path, "stop") == (
        0,
        f"ended 1 process left behind by a killed supervisor\nthe data stays in {tmp_path}\n",
    )
    assert not is_running(int(started.stdout))


@pytest.mark.parametrize("command", ["status", "demo"])
def test_without_a_stack_one_line_says_how_to_start_one(tmp_path: Path, command: str) -> None:
    code, output = run(tmp_path, command)
    assert code == 1
    assert output.count("\n") == 1
    assert output.endswith(f"start one with `make run LOCAL_DIR={tmp_path}`\n")


IGNORE_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def test_ctrl_c_ends_a_command_that_waits_without_a_traceback(tmp_path: Path) -> None:
    with child(
        [sys.executable, "-c", IGNORE_SIGTERM + IDLE, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with running(tmp_path, "stop") as stopping:
            assert stopping.stdout is not None
            assert stopping.stdout.readline().startswith("stopping the stack")
            stopping.send_signal(signal.SIGINT)
            output, _ = stopping.communicate(timeout=120)
        holder.kill()
    assert (stopping.returncode, output) == (128 + signal.SIGINT, "\n")
