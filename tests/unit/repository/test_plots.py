"""The pictures in the documents show the tables of docs/performance.md."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plots
from bench.bar_chart import Bars, Bound, Chart, draw, round_up
from bench.dashboard import configure, dashboard_panels
from bench.line_panels import Line, Panel
from bench.line_panels import draw as draw_panels
from bench.running_stack import RunningStack
from local_stack.applications import ROOT

PICTURES = plots.pictures()
SVG = "{http://www.w3.org/2000/svg}"


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 -- our own pictures


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_would_be_drawn(name: str) -> None:
    drawn = (plots.IMAGES / f"{name}.svg").read_text()
    assert drawn == PICTURES[name], "run: .venv/bin/python -m bench plots"


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_in_the_page_whose_tables_it_shows(name: str) -> None:
    assert f"](images/{name}.svg)" in plots.DOCUMENT.read_text()


def test_another_figure_in_a_table_is_another_picture() -> None:
    document = plots.DOCUMENT.read_text()
    found = re.search(r"^\| 64 \| ([\d,]+) \|", document, re.MULTILINE)
    assert found
    changed = document.replace(found[1], "31,234")
    assert draw(plots.creations(document)) != draw(plots.creations(changed))
    assert "31,234" in draw(plots.creations(changed))


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")))
def test_a_picture_loads_nothing_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text()
    root = parse(text)
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert not re.search(r"<script|<image|href=|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text


def test_a_bar_is_as_high_as_its_value() -> None:
    chart = Chart("A <title>", ["one", "two"], [Bars("x & y", [50, 100])], Bound("bound", 75))
    root = parse(draw(chart))
    heights = [
        float(it.attrib["height"]) for it in root.iter(f"{SVG}rect") if "s0" in it.attrib["class"]
    ]
    assert heights[1:] == [heights[2] / 2, heights[2]]
    assert chart.top == 100


@pytest.mark.parametrize(("value", "step"), [(0.45, 0.5), (1.0, 1), (6_600, 8_000), (23, 25)])
def test_a_step_of_the_grid_is_readable(value: float, step: float) -> None:
    assert round_up(value) == pytest.approx(step)


def test_a_line_goes_through_its_values() -> None:
    panel = Panel("A <panel>", [Line("p50", [(0, 0), (30, 50), (60, 100)])])
    (line,) = parse(draw_panels("A title", [panel])).iter(f"{SVG}polyline")
    points = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
    (left, bottom), middle, (right, top) = points
    assert middle == pytest.approx(((left + right) / 2, (bottom + top) / 2))
    assert panel.top == 100


def test_panels_without_values_are_drawn_empty() -> None:
    root = parse(draw_panels("A title", [Panel("one", []), Panel("two", [Line("x", [(0, 0)])])]))
    assert len(list(root.iter(f"{SVG}g"))) == 2


def test_the_picture_of_the_dashboard_has_every_panel_over_time() -> None:
    description = parse((plots.IMAGES / "dashboard.svg").read_text()).find(f"{SVG}desc")
    assert description is not None
    assert description.text == ", ".join(panel["title"] for panel in dashboard_panels())


def test_prometheus_scrapes_the_stack_that_is_drawn(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path, crud_port=1, numbering_port=2)
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in configure(stack)["scrape_configs"]
    }
    assert targets == {"crud": ["127.0.0.1:1"], "numbering": ["127.0.0.1:2"]}
