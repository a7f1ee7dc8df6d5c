"""Takes turns for `bench.against`, with the code of the folder that it is started in.

Reads lines of clients, chats and seconds, and answers each with the rate of creations and the
microseconds of processor time that numbering_service and Valkey took for each.
"""

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

sys.path[0] = str(Path.cwd())

from bench.cost import Meter  # noqa: E402 - of the folder above
from bench.creation_requests import chat_requests, empty  # noqa: E402
from bench.stack import BenchStack, forget_proxies  # noqa: E402
from bench.tools import Load, load  # noqa: E402

WARM_UP_SECONDS = 1


def answer(line: str) -> None:
    """Write a line to the standard output, which has nothing else."""
    assert sys.__stdout__ is not None
    sys.__stdout__.write(f"{line}\n")
    sys.__stdout__.flush()


def main() -> None:
    """Take turns until the input ends."""
    forget_proxies()
    with (
        redirect_stdout(sys.stderr),  # the stack tells how it starts
        tempfile.TemporaryDirectory() as folder,
        BenchStack(Path(folder) / "stack") as stack,
    ):
        numbering = stack.run("numbering", NUMBERING_PROCESSES="1")
        with stack.during(numbering):
            pids = {"numbering": numbering.process.pid, "Valkey": stack.valkey_pid}
            answer("ready")
            for line in sys.stdin:
                answer(take_turn(stack, pids, *map(int, line.split())))


def take_turn(
    stack: BenchStack, pids: dict[str, int], clients: int, chats: int, seconds: int
) -> str:
    """Start from nothing, warm up, and measure."""
    requests = chat_requests(chats)

    # Not between the loads, as in `creations`: an emptied stream looks like a persister at work.
    empty(stack, requests)

    def run(seconds: int) -> Load:
        return load(stack.numbering_url, requests, clients=clients, seconds=seconds, method="POST")

    run(WARM_UP_SECONDS)
    meter = Meter(pids)
    measured = run(seconds)
    cost = meter.microseconds_each(measured.requests)
    return f"{measured.rate} {cost['numbering']} {cost['Valkey']}"


if __name__ == "__main__":
    main()
