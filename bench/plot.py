"""The plot: a panel for each thing that was measured over something else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Panel:
    """How a panel looks."""

    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False


PANELS = {
    "creations": Panel("Creations", "clients", "answered /s", log_x=True, log_y=True),
    "latency": Panel("Latency of a creation", "clients", "p99, ms", log_x=True, log_y=True),
    "memory": Panel("Memory of the numbering process", "creations", "MB"),
    "backlog": Panel("Backlog at full speed", "seconds", "entries accepted, not stored"),
    "search": Panel("Search, 8 clients", "letters of the part", "p99, ms", log_y=True),
    "reads": Panel("Reads", "clients", "answered /s", log_x=True, log_y=True),
}


def draw(series: Sequence[Series], path: Path) -> None:
    """Draw the panels for which there is anything, and save them as a picture."""
    names = [name for name in PANELS if any(each.panel == name for each in series)]
    if not names:
        return
    # Takes most of a second to import, and most processes draw nothing.
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    mpl.use("Agg")  # no screen is needed
    rows = -(-len(names) // COLUMNS)
    canvas = Canvas(figsize=(7 * COLUMNS, 4.5 * rows), layout="constrained")
    for position, name in enumerate(names, 1):
        axes = canvas.add_subplot(rows, COLUMNS, position)
        draw_panel(axes, PANELS[name], [each for each in series if each.panel == name])
    canvas.savefig(path, dpi=110)


def draw_panel(axes: "Axes", panel: Panel, series: Sequence[Series]) -> None:
    """The lines of one panel."""
    highest = 0.0
    for each in series:
        points = [(x, y) for x, y in each.points if y > 0 or not panel.log_y]
        style = "-o" if len(points) < 20 else "-"
        axes.plot([x for x, _ in points], [y for _, y in points], style, label=each.label)
        highest = max([highest, *(y for _, y in points)])
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    if panel.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, highest * 1.1 or 1)
    if panel.log_x:
        ticks = sorted({x for each in series for x, _ in each.points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
