"""The results for people and for programs: a table, markdown and JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.plot import draw
from bench.results import Figure, Results, readable, say

HEAD = ("scenario", "figure", "value", "unit", "bound", "")


def write(results: Results, sizes: str, directory: Path) -> None:
    """Write results.json, results.md and, if there is something to draw, results.png."""
    directory.mkdir(parents=True, exist_ok=True)
    about = {"taken_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "sizes": sizes, **machine()}
    document = {
        "about": about,
        "figures": [describe(figure) for figure in results.figures],
        "series": [asdict(series) for series in results.series],
        "failures": results.failures,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (directory / "results.json").write_text(text + "\n")
    (directory / "results.md").write_text(markdown(results, about))
    picture = directory / "results.png"
    picture.unlink(missing_ok=True)  # of an earlier run
    draw(results.series, picture)
    say(f"\nwritten: {directory}/results.json, results.md{', results.png' * picture.exists()}")


def describe(figure: Figure) -> dict[str, object]:
    """A figure for JSON."""
    return {**asdict(figure), "bound": figure.bound, "verdict": figure.verdict}


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": processor(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cells(figure: Figure) -> tuple[str, ...]:
    """A figure as a row."""
    value = readable(figure.value)
    return (figure.scenario, figure.name, value, figure.unit, figure.bound, figure.verdict)


def markdown(results: Results, about: dict[str, str]) -> str:
    """The table in markdown, with what it was taken on above it."""
    rows = [HEAD, ("---", "---", "---:", "---", "---", "---"), *map(cells, results.figures)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    missing = [f"Not measured: {failure}\n" for failure in results.failures]
    return "\n".join([facts, "", *lines, "", *missing])


def show(results: Results) -> None:
    """Print the table, and how many bounds were kept."""
    rows = [HEAD, *map(cells, results.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    say("")
    for row in rows:
        say(line(row, widths))
    bounded = [figure for figure in results.figures if figure.bound]
    missed = [figure for figure in bounded if figure.verdict == "MISSED"]
    say(f"\n{len(bounded) - len(missed)} of {len(bounded)} bounds kept")
    for failure in results.failures:
        say(f"not measured: {failure}")


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """A row with its columns one below the other, the value to the right."""
    padded = [
        text.rjust(width) if column == 2 else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
