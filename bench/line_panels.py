"""Small line charts side by side as SVG, readable on light and on dark pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.bar_chart import round_up, text

COLUMNS = 2
WIDTH, HEIGHT = 440, 190
HEAD = 40
# The part of a panel in which its lines are.
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 44
STEPS = 4
COLOURS = 5
LETTER = 6.4
STYLE = """
text { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #59636e; }
.title { font-size: 15px; font-weight: 600; fill: #1f2328; }
.name { font-size: 12px; font-weight: 600; fill: #1f2328; }
.scale { text-anchor: end; }
.frame { fill: none; stroke: #d1d9e0; } .grid { stroke: #d1d9e0; stroke-width: 0.6; }
.l { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.c0 { stroke: #0969da; } .c1 { stroke: #bf8700; } .c2 { stroke: #1a7f37; }
.c3 { stroke: #8250df; } .c4 { stroke: #cf222e; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; } .title, .name { fill: #e6edf3; }
  .frame, .grid { stroke: #3d444d; }
  .c0 { stroke: #4493f8; } .c1 { stroke: #d29922; } .c2 { stroke: #3fb950; }
  .c3 { stroke: #ab7df8; } .c4 { stroke: #f85149; }
}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """Values over seconds."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over the same time, in one unit: seconds or a plain number."""

    title: str
    lines: Sequence[Line]
    unit: str = ""

    @property
    def top(self) -> float:
        highest = max((value for line in self.lines for _, value in line.points), default=0)
        return round_up(highest / STEPS) * STEPS if highest > 0 else 1

    @property
    def seconds(self) -> float:
        return max((at for line in self.lines for at, _ in line.points), default=1) or 1


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return the SVG document."""
    height = HEAD + HEIGHT * -(-len(panels) // COLUMNS)
    names = ", ".join(panel.title for panel in panels)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {height}" '
        'role="img" aria-labelledby="title description">\n'
        f'<title id="title">{escape(title)}</title>\n'
        f'<desc id="description">{escape(names)}</desc>\n<style>{STYLE}</style>'
    )
    parts = [head, text(8, 24, title, "title")]
    for position, panel in enumerate(panels):
        x, y = WIDTH * (position % COLUMNS), HEAD + HEIGHT * (position // COLUMNS)
        parts += [f'<g transform="translate({x} {y})">', *draw_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def draw_panel(panel: Panel) -> Iterator[str]:
    yield f'<rect x="4" y="4" width="{WIDTH - 8}" height="{HEIGHT - 8}" rx="6" class="frame"/>'
    yield text(14, 23, panel.title, "name")
    yield from scale(panel)
    for position, line in enumerate(panel.lines):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in place(panel, line))
        yield f'<polyline points="{points}" class="l c{position % COLOURS}"/>'
    yield from legend(panel)


def scale(panel: Panel) -> Iterator[str]:
    """Horizontal lines with their values."""
    for step in range(STEPS + 1):
        value = panel.top * step / STEPS
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * step / STEPS
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield text(LEFT - 6, y + 4, readable(value, panel.unit), "scale")


def readable(value: float, unit: str) -> str:
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:g} ms"
    return f"{value:,g} {unit}".strip()


def place(panel: Panel, line: Line) -> Iterator[tuple[float, float]]:
    """The pixels of a line's points."""
    for at, value in line.points:
        x = LEFT + (WIDTH - LEFT - RIGHT) * at / panel.seconds
        yield x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / panel.top


def legend(panel: Panel) -> Iterator[str]:
    """The names of the lines, in rows below them."""
    x, y = float(LEFT), HEIGHT - 26
    for position, line in enumerate(panel.lines):
        width = 22 + LETTER * len(line.name)
        if x + width > WIDTH - RIGHT and x > LEFT:
            x, y = float(LEFT), y + 13
        css = f"l c{position % COLOURS}"
        yield f'<line x1="{x:.1f}" x2="{x + 10:.1f}" y1="{y}" y2="{y}" class="{css}"/>'
        yield text(x + 14, y + 4, line.name, "")
        x += width
