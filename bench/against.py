"""What creations cost beside another revision of this code: `python -m bench.against REVISION`.

Each revision has a numbering service and a Valkey of its own, from its own tree and in its own
process (`bench.against_turn`), and they take turns: on a machine that is busy with other things
too, rates say little, and ratios of turns next to each other, and processor time, a lot more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.results import say
from local_stack.applications import ROOT
from local_stack.compiled.tree import compile_sources

# Clients, and the chats that they write to in turn.
CASES = ((64, 1), (64, 1000), (16, 1), (1, 1))
TURNS = 5
SECONDS = 5


class Turn(NamedTuple):
    """One turn of a revision: creations a second, and microseconds of processor time for each."""

    rate: float
    numbering: float
    valkey: float

    def over(self, other: "Turn") -> "Turn":
        """Return the ratios to another turn."""
        return Turn(*(ours / theirs for ours, theirs in zip(self, other, strict=True)))


class Revision:
    """A process that takes turns in a tree."""

    def __init__(self, tree: Path, *, is_compiled: bool = False) -> None:
        variables = {**os.environ, "COMPILED": str(int(is_compiled))}
        words = (sys.executable, str(ROOT / "bench" / "against_turn.py"))
        self._process = subprocess.Popen(
            words,
            cwd=tree,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def turn(self, clients: int, chats: int, seconds: int) -> Turn:
        """Have some clients create messages for some seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{clients} {chats} {seconds}\n")
        self._process.stdin.flush()
        return Turn(*map(float, self._read().split()))

    def close(self) -> None:
        """End the process, and with it the stack."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("bench.against: a revision has failed; see above")
        return line


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Check out a revision in a folder of its own, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def main() -> None:
    """Take turns, and print a line for each case."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("revision", help="a commit, tag or branch that has this benchmark's stack")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"of each case ({TURNS})")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each turn ({SECONDS})")
    parser.add_argument("--compiled", action="store_true", help="compile this code, not the other")
    arguments = parser.parse_args()
    if arguments.compiled:
        compile_sources()
    with ExitStack() as stack:
        there = Revision(stack.enter_context(tree_of(arguments.revision)))
        stack.callback(there.close)
        here = Revision(ROOT, is_compiled=arguments.compiled)
        stack.callback(here.close)
        say(f"{'clients':>7} {'chats':>5}  {'rate':>15} {'ratio':>6}  processor time, ratio")
        for clients, chats in CASES:
            pairs = [
                take_pair(there, here, clients, chats, arguments.seconds, swap=turn % 2 == 1)
                for turn in range(arguments.turns)
            ]
            report(clients, chats, pairs)


def take_pair(
    there: Revision, here: Revision, clients: int, chats: int, seconds: int, *, swap: bool
) -> tuple[Turn, Turn]:
    """Return a turn of the other revision and one of this; they swap who is first."""
    if swap:
        after = here.turn(clients, chats, seconds)
        return there.turn(clients, chats, seconds), after
    return there.turn(clients, chats, seconds), here.turn(clients, chats, seconds)


def report(clients: int, chats: int, pairs: list[tuple[Turn, Turn]]) -> None:
    """Print medians: of the rates, and of the ratios within each pair."""
    before, after = (median(pair[side].rate for pair in pairs) for side in (0, 1))
    ratios = [here.over(there) for there, here in pairs]
    rate, numbering, valkey = (median(each) for each in zip(*ratios, strict=True))
    say(
        f"{clients:>7} {chats:>5}  {before:>6,.0f}, {after:>6,.0f}/s {rate:>6.3f}  "
        f"numbering {numbering:.3f}, Valkey {valkey:.3f}"
    )


if __name__ == "__main__":
    main()
