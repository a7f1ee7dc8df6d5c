"""The parts of local_stack that decide without touching a process."""

import errno
import json
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from local_stack.applications import ROOT
from local_stack.cluster.cluster_stack import ClusterStack
from local_stack.cluster.proxy import WITH_ALL_FILES, Front, configure, count_connections
from local_stack.cluster.roles import ANSWER_SECONDS, Roles
from local_stack.command_line import welcome
from local_stack.console import Waiting
from local_stack.demo import show
from local_stack.failure import StackError, explain
from local_stack.layout import Layout, read_json_file, write_atomically
from local_stack.ports import (
    CHOSEN_FROM,
    LOOPBACK,
    Reservations,
    choose_port,
    reachable_host,
    why_not_free,
)
from local_stack.process import last_line
from local_stack.stack import Settings, Stack, allowed_origins
from local_stack.status import readiness
from local_stack.stores.distribution import (
    VERSION,
    UnavailableError,
    cache_directory,
    fetch,
    progress,
)
from local_stack.stores.postgres import create_database, database_url
from local_stack.stores.standby import copy_command
from local_stack.stores.valkey_cluster import Member, Node
from local_stack.supervisor import LONGEST_PAUSE_SECONDS, pause_before_restart
from local_stack.teardown import stop_supervisor
from tests.children import child
from tests.clients.scripted_server import json_answer, scripted_server
from web.cors import parse_origins


def test_the_first_restart_is_immediate_and_repeated_ones_back_off() -> None:
    pauses = [pause_before_restart(deaths) for deaths in range(1, 12)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_file_is_on_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "secrets.json", []
    path.write_text("old")
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, "a longer text")
    assert (seen, path.read_text()) == ([(len("a longer text"), "old")], "a longer text")


@pytest.mark.parametrize("text", ["", '{"SECRET_KEY": "cut', "[1]"])
def test_a_damaged_file_of_secrets_or_ports_is_named(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    for name, read in (
        ("secrets", layout.secrets),
        ("ports", lambda: read_json_file(layout.ports)),
    ):
        (tmp_path / f"{name}.json").write_text(text)
        with pytest.raises(StackError, match=rf"/{name}\.json is damaged"):
            read()


def test_a_shell_reads_stack_env_verbatim(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    values = {"PLAIN": "http://127.0.0.1:3000", "EMPTY": "", "ODD": "a b'c\"$HOME `x`\\"}
    layout.write_env(values)
    script = "set -a; . ./stack.env; exec python3 -c \"import os; print(os.environ['ODD'])\""
    command = ["/bin/sh", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == values["ODD"] + "\n"
    assert layout.read_env() == values


def test_secrets_are_generated_once_and_readable_only_by_their_owner(tmp_path: Path) -> None:
    secrets = Layout(tmp_path).secrets()
    assert Layout(tmp_path).secrets() == secrets
    assert len(set(secrets.values())) == len(secrets)
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_directory_is_held_by_one_supervisor(tmp_path: Path) -> None:
    with (
        Layout(tmp_path).lock(),
        pytest.raises(StackError, match=r"a stack is already running in .* \(supervisor \d+\)"),
    ):
        Layout(tmp_path).lock()
    Layout(tmp_path).lock().close()


def test_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/data/file")
    assert str(explain(error, tmp_path)) == "the disk that holds /data/file is full"


def test_chosen_ports_are_not_those_of_outgoing_connections() -> None:
    assert choose_port() in CHOSEN_FROM
    assert CHOSEN_FROM.stop <= 32768


CHOOSE = """
import sys
from local_stack import ports
ports.CHOSEN_FROM = range(int(sys.argv[1]), int(sys.argv[1]) + 200)
chosen = {ports.choose_port() for _ in range(int(sys.argv[2]))}
print(*chosen, flush=True)
sys.stdin.read()
"""


def test_a_port_is_chosen_by_one_process_before_anything_listens_on_it() -> None:
    """With two hundred ports to choose from, many would be chosen twice by chance."""
    command = [sys.executable, "-c", CHOOSE, "19000"]
    with chooser([*command, "90"]) as one, chooser([*command, "90"]) as other:
        assert len(one) == len(other) == 90
        assert one & other == set()
    with chooser([*command, "180"]) as again:
        assert len(again) == 180


@contextmanager
def chooser(command: list[str]) -> Iterator[set[int]]:
    """Yield the ports that a process chose, while it is running."""
    with child(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield {int(port) for port in process.stdout.readline().split()}


def test_settings_come_from_the_environment_and_have_defaults() -> None:
    assert Settings.from_environment({}) == Settings(Path(".local"), 3000, 8080)
    given = {"LOCAL_DIR": "/x", "CRUD_PORT": "3100", "NUMBERING_PORT": "8180"}
    assert Settings.from_environment(given) == Settings(Path("/x"), 3100, 8180)


@pytest.mark.parametrize("variable", ["CRUD_PORT", "NUMBERING_PORT"])
@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "²"])
def test_an_invalid_port_is_refused(variable: str, port: str) -> None:
    with pytest.raises(StackError, match=f"^{variable}={port} is not a port$"):
        Settings.from_environment({variable: port})


def test_the_command_to_run_names_what_differs_from_the_defaults() -> None:
    assert Settings(Path(".local")).command_to_run() == "make run"
    other = Settings(Path("my dir"), 3100, host="127.0.0.2", with_elasticsearch=False)
    assert other.command_to_run() == (
        "make run 'LOCAL_DIR=my dir' CRUD_PORT=3100 HOST=127.0.0.2 WITHOUT_ELASTICSEARCH=1"
    )
    assert other.command("stop") == "make stop 'LOCAL_DIR=my dir'"


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - not bound
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("my-machine", "my-machine"),
    ],
)
def test_a_stack_is_asked_at_the_address_that_it_listens_on(host: str, reachable: str) -> None:
    assert reachable_host(host) == reachable


def test_a_cluster_has_its_own_directory_and_is_named_in_every_command() -> None:
    settings = Settings.from_environment({"CLUSTER": "1"})
    assert settings == Settings(Path(".local-cluster"), cluster=True)
    assert settings.command("stop") == "make stop CLUSTER=1"
    assert replace(settings, crud_port=3100).command_to_run() == "make run CLUSTER=1 CRUD_PORT=3100"
    assert Settings.from_environment({"CLUSTER": "0"}) == Settings(Path(".local"))


@pytest.mark.parametrize("cluster", [False, True])
def test_the_directory_of_the_other_kind_of_stack_is_refused(tmp_path: Path, cluster: bool) -> None:
    kinds = {False: Stack, True: ClusterStack}
    names = kinds[cluster].port_names
    Layout(tmp_path).ports.write_text(json.dumps(dict.fromkeys(names, 20000)))
    command = f"make run {'CLUSTER=1 ' * cluster}LOCAL_DIR={tmp_path}"
    with pytest.raises(StackError, match=f"{tmp_path} holds the data of a .*: type {command},"):
        kinds[not cluster](Settings(tmp_path, cluster=not cluster)).prepare()
    assert os.listdir(tmp_path) == ["ports.json"]
    kinds[cluster](Settings(tmp_path, cluster=cluster)).require_own_kind()


def test_the_command_that_copies_a_primary_does_not_show_the_password() -> None:
    shown = " ".join(copy_command(database_url("secret", 5432, "chat"), "standby"))
    assert "host=127.0.0.1 port=5432 user=postgres application_name=standby" in shown
    assert "secret" not in shown


def test_the_proxy_treats_requests_as_the_documented_one_does() -> None:
    kinds = r"proxy_(?!pass).*|client_max_body_size.*|error_page.*|if .*"
    pattern = re.compile(rf"^ *({kinds})(?:;|; }})$", re.MULTILINE)
    documented = pattern.findall((ROOT / "ops" / "nginx.conf").read_text())
    text = configure("::", {"crud": Front(3000, [20001, 20002])})
    assert len(documented) == 8
    assert [line for line in pattern.findall(text) if "_path" not in line] == documented
    assert "listen [::]:3000;" in text


def test_the_proxy_may_open_a_file_for_each_of_its_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most == resource.RLIM_INFINITY or count_connections() < most
    limited = ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *WITH_ALL_FILES]
    command = [sys.executable, "-c", "import resource as it; print(it.getrlimit(it.RLIMIT_NOFILE))"]
    done = subprocess.run([*limited, *command], capture_output=True, text=True, check=True)
    assert done.stdout == f"{(most, most)}\n"


def member(number: int, follows: str = "", *, lost: bool = False, epoch: int = 1) -> Member:
    """What is known of a server; one that follows nobody has slots."""
    slots = () if follows else ((number, number),)
    return Member(f"id {number}", number, follows, lost, epoch, slots)


def test_an_election_and_the_return_of_the_former_primary_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roles = Roles([Node("valkey-1", 1, 11), Node("valkey-4", 4, 14)])
    views = [
        [member(1), member(4, "id 1")],
        [member(1, lost=True), member(4)],
        [member(1, "id 4"), member(4)],
    ]
    told = []
    for view in views:
        monkeypatch.setattr(roles, "newest_view", lambda view=view: view)
        told.append((roles.changes(), roles.is_being_replaced("valkey-1")))
    assert told == [
        ([], True),
        (["valkey-4 was elected primary in place of valkey-1"], False),
        (["valkey-1 is now a replica of valkey-4"], False),
    ]


def test_servers_that_do_not_answer_are_waited_for_at_the_same_time() -> None:
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(12)]
        ports = [listening.getsockname()[1] for listening in silent]
        roles = Roles([Node(f"valkey-{port}", port, 0) for port in ports])
        began = time.monotonic()
        assert roles.look() == {}
        assert time.monotonic() - began < ANSWER_SECONDS * len(silent)


def test_the_command_for_the_password_works_in_a_directory_with_a_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(Settings(tmp_path / "my dir"))
    stack.layout.create()
    stack.layout.write_env({"ADMIN_PASSWORD": "secret"})
    urls = dict.fromkeys(("CRUD_URL", "NUMBERING_URL", "ELASTICSEARCH_URL"), "")
    welcome(urls, stack)
    (command,) = re.findall(r"password: (grep .*)", capsys.readouterr().out)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "ADMIN_PASSWORD=secret\n"


def test_the_request_to_try_has_the_admin_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(Settings(tmp_path / "my dir"))
    stack.layout.create()
    urls = dict.fromkeys(("CRUD_URL", "NUMBERING_URL", "ELASTICSEARCH_URL"), "")
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\nprintf '%s|' \"$@\"\n")
    curl.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    sent = []
    for token in ("", "it's a $ecret"):
        stack.layout.write_env({"ADMIN_TOKEN": token})
        welcome({**urls, "ADMIN_TOKEN": token}, stack)
        (command,) = re.findall("^try +(.*)$", capsys.readouterr().out, re.MULTILINE)
        sent.append(subprocess.check_output(["sh", "-c", command], env=path, text=True))
    assert sent == [
        '-X|POST|/applications|-d|{"name": "my app"}|',
        '-X|POST|/applications|-d|{"name": "my app"}|-H|Authorization: Bearer it\'s a $ecret|',
    ]


MAVEN = """#!/bin/sh
for argument; do case "$argument" in -DoutputDirectory=*) out="${argument#*=}";; esac; done
printf "Downloading: x.pom\nProgress (1): 1.2 kB\rProgress (1): 2 kB\n"
printf 'Progress (1): 0.3/98 MB\rProgress (1): 49/98 MB\r'
sleep 1
"$PYTHON" -c '
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/elasticsearch.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
    bundle.writestr(sys.argv[2] + "/bin/elasticsearch", "#" * 2_000_000)
' "$out" elasticsearch-VERSION
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for what MAVEN downloads."""
    maven = tmp_path / "mvn"
    maven.write_text(MAVEN.replace("VERSION", VERSION))
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYTHON", sys.executable)
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


def test_a_download_that_cannot_be_unpacked_is_a_reason_and_not_a_failure(cache: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(UnavailableError, match="can't be unpacked"):
            fetch(cache, cache / f"elasticsearch-{VERSION}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache.iterdir()) == []


def test_a_file_of_reservations_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / f"chat-backend-ports-{os.getuid()}"
    path.symlink_to("elsewhere")
    with pytest.raises(StackError, match=f"{path} can't be opened"):
        Reservations().reserve(20_000)


def test_a_download_says_how_many_megabytes_have_arrived(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = cache / f"elasticsearch-{VERSION}"
    fetch(cache, home, Waiting(seconds_between_lines=0.1))
    assert (home / "bin" / "elasticsearch").exists()
    output = capsys.readouterr().out
    assert f"downloading Elasticsearch {VERSION}, once: 49/98 MB" in output
    assert "kB" not in output
    assert output.splitlines()[-1].startswith("✓ download")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"Downloading from central", ""),
        (b"Progress (1): 3.1 MB\rProgress (1): 3.4 MB\r", ": 3.4 MB"),
        (b"Progress (1): 97/98 MB\rProgress (1): 98/98 MB\r", ": 98/98 MB"),
    ],
)
def test_progress_is_what_maven_said_last(output: bytes, expected: str) -> None:
    assert progress(output) == expected


@pytest.mark.parametrize(
    ("chosen", "port", "expected"),
    [
        ("", 3000, "http://127.0.0.1:3000,http://localhost:3000"),
        (
            "https://a.example, http://localhost:3000",
            3000,
            "https://a.example,http://localhost:3000,http://127.0.0.1:3000",
        ),
        ("*", 3000, "*"),
        ("", 80, "http://127.0.0.1,http://localhost"),
        ("", 8080, "http://127.0.0.1:8080,http://localhost:8080"),
    ],
)
def test_the_chat_page_may_call_both_services(chosen: str, port: int, expected: str) -> None:
    allowed = allowed_origins(chosen, f"http://127.0.0.1:{port}")
    assert allowed == expected
    assert parse_origins(allowed)


def test_another_loopback_address_has_no_second_name() -> None:
    assert allowed_origins("", "http://127.0.0.12:3000") == "http://127.0.0.12:3000"


PYTHON_WHOSE_PIP_HANGS = """#!/bin/sh
test "$1" = -c && exit
echo Collecting
exec sleep 600
"""


def test_ctrl_c_ends_an_installation_without_a_traceback(tmp_path: Path) -> None:
    program = tmp_path / "local_stack" / "environment.py"
    lock = tmp_path / "requirements" / "run.txt"
    python = tmp_path / ".venv" / "bin" / "python"
    for path in (program, lock, python):
        path.parent.mkdir(parents=True)
    program.write_text((ROOT / "local_stack" / "environment.py").read_text())
    lock.touch()
    python.write_text(PYTHON_WHOSE_PIP_HANGS)
    python.chmod(0o755)
    with child(
        # Where tests run in a shell's background, SIGINT is ignored.
        ["env", "--default-signal=INT", sys.executable, "-I", str(program), "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as installing:
        assert installing.stdout is not None
        assert installing.stdout.readline().startswith("installing requirements/run.txt")
        # To all processes, as a terminal sends it.
        os.killpg(installing.pid, signal.SIGINT)
        _, errors = installing.communicate(timeout=60)
    assert (installing.returncode, errors.count("\n"), errors[:11]) == (1, 1, "interrupted")


IMPORTED_FOR_LONG = "import time; print('importing', flush=True); time.sleep(60)"


def test_ctrl_c_ends_a_command_that_is_being_imported_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "httpx.py").write_text(IMPORTED_FOR_LONG)
    with child(
        ["env", "--default-signal=INT", sys.executable, "-m", "local_stack", "run"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LOCAL_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as starting:
        assert starting.stdout is not None
        assert starting.stdout.readline() == "importing\n"
        starting.send_signal(signal.SIGINT)
        _, errors = starting.communicate(timeout=60)
    assert (starting.returncode, errors) == (-signal.SIGINT, "")


def test_the_status_says_what_a_degraded_stack_lacks() -> None:
    """As for the first seconds of every stack."""
    states = {"postgresql": "ok", "redis": "not_configured", "elasticsearch": "unavailable"}
    dependencies = {name: {"status": state} for name, state in states.items()}
    with scripted_server() as crud:
        crud.script = [json_answer({"status": "degraded", "dependencies": dependencies})]
        assert readiness({"CRUD_URL": crud.url}) == "degraded (elasticsearch)"


def test_a_supervisor_that_ends_before_it_is_told_to_has_been_stopped(tmp_path: Path) -> None:
    with child([sys.executable, "-c", ""]) as process:
        supervisor = psutil.Process(process.pid)
    stop_supervisor(Layout(tmp_path), supervisor)


AS_PYTHON_3_8 = """
import builtins, runpy, shutil, subprocess, sys
builtins.list = type("list", (list,), {"__class_getitem__": None})
sys.version_info = (3, 8, 10)
sys.argv = ["environment.py", "run"]
runpy.run_path("local_stack/environment.py", run_name="__main__")
"""


def test_an_old_python_is_told_that_a_newer_one_is_required() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_PYTHON_3_8],
        cwd=ROOT,
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    required = f"Python 3.11 or newer is required, but {sys.executable} is 3.8.10: set PYTHON=\n"
    assert (done.returncode, done.stderr) == (1, required)


def test_the_last_line_of_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"a line\n" * 1_000_000 + "the last one: é\n\n".encode())
    tracemalloc.start()
    try:
        assert last_line(log) == "the last one: é"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_taken_port_of_a_process_that_is_not_shown_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of another user's process psutil knows no pid."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert f"(pid {os.getpid()})" in why_not_free(port, LOOPBACK)
        found = [each._replace(pid=None) for each in psutil.net_connections("tcp")]
        monkeypatch.setattr(psutil, "net_connections", lambda _: found)
        why = f"port {port} is taken by a process that you may not see"
        assert why_not_free(port, LOOPBACK) == why


def test_a_user_without_a_home_keeps_the_download_in_the_stacks_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert cache_directory(Layout(tmp_path)) == tmp_path / "cache"


MAVEN_WITHOUT_END = """#!/bin/sh
for argument; do case "$argument" in -DoutputDirectory=*) out="${argument#*=}";; esac; done
"$PYTHON" -c '
import itertools, pathlib, sys
for number in itertools.count():
    pathlib.Path(sys.argv[1], f"part-{number}").touch()
' "$out"
"""


def test_an_interrupted_download_leaves_nothing_behind(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache.parent / "mvn").write_text(MAVEN_WITHOUT_END)

    def interrupt(waiting: Waiting, what: str) -> None:
        if list(cache.glob("fetching-*/part-*")):
            raise KeyboardInterrupt

    monkeypatch.setattr(Waiting, "tell", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(cache, cache / f"elasticsearch-{VERSION}")
    assert list(cache.iterdir()) == []


def test_a_database_that_does_not_answer_is_named_in_one_line() -> None:
    with pytest.raises(StackError, match=r"^PostgreSQL .* port \d+ failed: [^\n]*$"):
        create_database(database_url("secret", choose_port(), "chat"))


def test_the_demo_shows_an_answer_that_is_not_of_the_services(
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = httpx.Request("GET", "http://127.0.0.1:3000/applications")
    show(httpx.Response(502, text="<html>Bad Gateway</html>", request=request))
    assert capsys.readouterr().out.endswith("502 Bad Gateway\n<html>Bad Gateway</html>\n\n")
