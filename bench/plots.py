"""The pictures in the documents: `python -m bench plots` draws them again.

They show the tables of docs/performance.md and hold no figures of their own; a test compares
the files with what would be drawn.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.bar_chart import Bars, Bound, Chart, draw
from local_stack.applications import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")

Row = Sequence[str]


def write_plots() -> list[Path]:
    """Draw every picture; returns the files."""
    IMAGES.mkdir(exist_ok=True)
    written = []
    for name, drawing in pictures().items():
        path = IMAGES / f"{name}.svg"
        path.write_text(drawing)
        written.append(path)
    return written


def pictures() -> dict[str, str]:
    """Every picture by its name, as SVG."""
    document = DOCUMENT.read_text()
    return {name: draw(make(document)) for name, make in CHARTS.items()}


def rows(document: str, heading: str) -> list[Row]:
    """Return the cells of the first table behind a heading that begins so, without its head."""
    section = document.partition(f"\n### {heading}")[2].partition("\n##")[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines()]
    return [row for row in cells[1:] if not set(row[0]) <= set("-: ")]


def numbers(cell: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(cell)]


def column(table: Sequence[Row], cell: int, number: int = 0) -> list[float]:
    """Return one number of a cell in each row."""
    return [numbers(row[cell])[number] for row in table]


def clients(table: Sequence[Row]) -> list[str]:
    return [f"{row[0]} client{'' if row[0] == '1' else 's'}" for row in table]


def gateway(document: str) -> Chart:
    table = rows(document, "Beside a gateway in Go")
    return Chart(
        "Creations: rate relative to a gateway in Go",
        clients(table),
        [Bars("this service, one process, each message on disk", column(table, 1))],
        Bound("the gateway (Fiber), nothing on disk", 1),
    )


def creations(document: str) -> Chart:
    table = rows(document, "Creations")
    series = [Bars("in one chat", column(table, 1)), Bars("in 1,000 chats", column(table, 4))]
    return Chart("Creations per second, one process, each on disk", clients(table), series)


def pace(document: str) -> Chart:
    table = [row for row in rows(document, "At human pace") if len(numbers(row[1])) > 1]
    return Chart(
        "From the 201 to a readable message, in ms",
        [f"every {row[0]}" for row in table],
        [Bars("p50", column(table, 1)), Bars("p99", column(table, 1, 1))],
    )


def searches(document: str) -> Chart:
    table = rows(document, "Searches")
    return Chart(
        "Searches by 8 clients among 1,000,000 messages: p99 in ms",
        [row[0].replace(" letters", "").replace(" letter", "") for row in table],
        [Bars("Elasticsearch", column(table, 1, 1)), Bars("PostgreSQL", column(table, 2, 1))],
        Bound("bound of Elasticsearch", 25),
    )


def reads(document: str) -> Chart:
    table = {row[0].partition(",")[0]: row for row in rows(document, "Reads")}
    names = ("GET application", "GET message", "page of 100")
    series = [Bars(name, [numbers(cell)[0] for cell in table[name][1:]]) for name in names]
    groups = ["1 client", "16 clients", "64 clients"]
    return Chart("Reads per second in a chat of 1,000,000 messages", groups, series)


CHARTS: dict[str, Callable[[str], Chart]] = {
    "gateway": gateway,
    "creations": creations,
    "pace": pace,
    "searches": searches,
    "reads": reads,
}
