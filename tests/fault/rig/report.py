"""The table of the faults: what the clients saw, and what was lost."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local_stack.applications import ROOT

HEAD = ("fault", "answered", "refused", "unknown", "lost", "longest pause", "index equal after")
PATH = Path(os.environ.get("FAULT_REPORT") or ROOT / ".local-test" / "faults.txt")


@dataclass(frozen=True, slots=True)
class Line:
    """One fault; of the numbers, those that clients counted."""

    fault: str
    answered: int
    refused: int
    unknown: int
    lost: int
    longest_pause: float
    equal_after: float | None

    def cells(self) -> tuple[str, ...]:
        counts = (self.answered, self.refused, self.unknown, self.lost)
        equal = "-" if self.equal_after is None else f"{self.equal_after:.1f} s"
        pause = f"{self.longest_pause:.1f} s"
        return (self.fault, *(f"{count:,}" for count in counts), pause, equal)


def render(lines: Sequence[Line], seed: int) -> str:
    """The table as Markdown, which is legible as text."""
    table = [HEAD, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [align(HEAD, widths), "| " + " | ".join(rule) + " |"]
    rows += [align(row, widths) for row in table[1:]]
    return "\n".join([f"seed {seed}", "", *rows, ""])


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "| " + " | ".join([first, *others]) + " |"


def write(lines: Sequence[Line], seed: int) -> None:
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(render(lines, seed))
