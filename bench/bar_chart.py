"""Bar charts as SVG, readable on light and on dark pages.

Written by hand, since a picture then has a few kilobytes, is the same on every machine, and
follows the reader's colour scheme through a media query.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 16, 16, 76, 46
# What a letter of a legend takes.
LETTER = 7.2
# Share of a group's width that its bars take, and the widest that a bar gets.
FILLED, WIDEST = 0.76, 84
GRID_LINES = 4
ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.soft { fill: #59636e; }
.value { font-size: 12px; text-anchor: middle; }
.value { paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.middle { text-anchor: middle; }
.grid { stroke: #d1d9e0; }
.bound { stroke: #cf222e; stroke-dasharray: 5 4; stroke-width: 1.5; }
.bound-name { fill: #cf222e; }
.s0 { fill: #0969da; } .s1 { fill: #8250df; } .s2 { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .soft { fill: #9198a1; } .grid { stroke: #3d444d; }
  .bound { stroke: #ff7b72; } .bound-name { fill: #ff7b72; }
  .value { stroke: #0d1117; }
  .s0 { fill: #4493f8; } .s1 { fill: #ab7df8; } .s2 { fill: #3fb950; }
}
"""


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar in each group; 0 leaves a gap."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Bound:
    """A line across the chart."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Groups of bars side by side, one of each series."""

    title: str
    groups: Sequence[str]
    series: Sequence[Bars]
    bound: Bound | None = None

    @property
    def top(self) -> float:
        """The value at the upper end: the highest, rounded up to a readable step."""
        highest = max(value for bars in self.series for value in bars.values)
        highest = max(highest, self.bound.value if self.bound else 0)
        return round_up(highest / GRID_LINES) * GRID_LINES

    @property
    def description(self) -> str:
        """All values in words, for those who do not see the picture."""
        lines = []
        for bars in self.series:
            pairs = zip(self.groups, bars.values, strict=True)
            lines.append(
                f"{bars.name}: " + ", ".join(f"{group} {value:,g}" for group, value in pairs)
            )
        return ". ".join(lines)


def round_up(step: float) -> float:
    """The next of a few round factors times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in ROUND if factor * power >= step * 0.999)


def draw(chart: Chart) -> str:
    """Return the SVG document."""
    title, description = escape(chart.title), escape(chart.description)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="title description">\n<title id="title">{title}</title>\n'
        f'<desc id="description">{description}</desc>\n<style>{STYLE}</style>\n'
    )
    body = [*legend(chart), *grid(chart), *bound_of(chart), *bars_of(chart)]
    return "\n".join([head + text(LEFT, 24, chart.title, "title"), *body, "</svg>\n"])


def text(x: float, y: float, words: str, css: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{escape(words)}</text>'


def height_of(value: float, chart: Chart) -> float:
    """How many pixels above the axis a value is."""
    return (HEIGHT - TOP - BOTTOM) * value / chart.top


def legend(chart: Chart) -> Iterator[str]:
    """The names of the series below the title."""
    x = float(LEFT)
    for position, bars in enumerate(chart.series):
        yield f'<rect x="{x:.1f}" y="37" width="11" height="11" rx="2" class="s{position}"/>'
        yield text(x + 17, 47, bars.name, "soft")
        x += 40 + LETTER * len(bars.name)
    if chart.bound:
        yield f'<line x1="{x:.1f}" x2="{x + 22:.1f}" y1="43" y2="43" class="bound"/>'
        yield text(x + 28, 47, chart.bound.name, "bound-name")


def grid(chart: Chart) -> Iterator[str]:
    """Lines behind the bars, and the names of the groups below the axis."""
    axis = HEIGHT - BOTTOM
    for line in range(GRID_LINES + 1):
        y = axis - height_of(chart.top * line / GRID_LINES, chart)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
    width = (WIDTH - LEFT - RIGHT) / len(chart.groups)
    for position, group in enumerate(chart.groups):
        yield text(LEFT + width * (position + 0.5), axis + 22, group, "soft middle")


def bars_of(chart: Chart) -> Iterator[str]:
    """Every bar with its value above it."""
    axis = HEIGHT - BOTTOM
    group_width = (WIDTH - LEFT - RIGHT) / len(chart.groups)
    width = min(WIDEST, group_width * FILLED / len(chart.series))
    for series, bars in enumerate(chart.series):
        for group, value in enumerate(bars.values):
            middle = LEFT + group_width * (group + 0.5)
            x = middle + width * (series - len(chart.series) / 2)
            height = height_of(value, chart)
            yield (
                f'<rect x="{x + 1.5:.1f}" y="{axis - height:.1f}" width="{width - 3:.1f}" '
                f'height="{height:.1f}" rx="2" class="s{series}"/>'
            )
            yield text(x + width / 2, axis - height - 6, f"{value:,g}", "value")


def bound_of(chart: Chart) -> Iterator[str]:
    """The line behind the bars."""
    if chart.bound:
        y = HEIGHT - BOTTOM - height_of(chart.bound.value, chart)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="bound"/>'
