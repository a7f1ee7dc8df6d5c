"""The parts of local_stack that decide without touching a process."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_stack.applications import ROOT
from local_stack.failure import StackError, explain
from local_stack.layout import Layout
from local_stack.ports import CHOSEN_FROM, choose_port
from local_stack.stack import Settings
from local_stack.supervisor import LONGEST_PAUSE_SECONDS, pause_before_restart


def test_the_first_restart_is_immediate_and_repeated_ones_back_off() -> None:
    pauses = [pause_before_restart(deaths) for deaths in range(1, 12)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


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
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield {int(port) for port in process.stdout.readline().split()}


def test_settings_come_from_the_environment_and_have_defaults() -> None:
    assert Settings.from_environment({}) == Settings(Path(".local"), 3000, 8080)
    given = {"LOCAL_DIR": "/x", "CRUD_PORT": "3100", "NUMBERING_PORT": "8180"}
    assert Settings.from_environment(given) == Settings(Path("/x"), 3100, 8180)
