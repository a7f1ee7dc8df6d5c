"""The style sheet of the chat page: nothing in it is left over, and fields can be seen."""

import re
from collections import Counter

import pytest

from local_stack.applications import ROOT

PAGE = ROOT / "crud_service" / "demo_page"
SCRIPTS = PAGE / "static" / "demo"
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STYLE = COMMENT.sub("", (SCRIPTS / "demo.css").read_text())
SOURCES = (PAGE / "templates" / "demo.html", *SCRIPTS.glob("*.js"))
WORDS = set(
    re.findall(r"[\w-]+", COMMENT.sub("", "".join(source.read_text() for source in SOURCES)))
)
# Of everything but what stands in a condition, such as those of phones.
UNCONDITIONAL = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", STYLE)
THEMES = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)


def selectors(style: str) -> list[str]:
    return [rule.strip() for rule in re.findall(r"([^{}]+)\{", style)]


def test_every_class_and_id_is_one_of_the_page() -> None:
    named = set(re.findall(r"[.#]([a-z][\w-]*)", " ".join(selectors(STYLE))))
    assert "message" in named
    assert named - WORDS == set()


def test_every_custom_property_is_used() -> None:
    assert set(re.findall(r"--([\w-]+):", STYLE)) == set(re.findall(r"var\(--([\w-]+)\)", STYLE))


def test_a_selector_has_its_declarations_in_one_place() -> None:
    times = Counter(selectors(UNCONDITIONAL))
    assert [selector for selector, number in times.items() if number > 1] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("around", ["page", "surface"])
def test_the_border_of_a_field_contrasts_with_what_is_around_it(theme: str, around: str) -> None:
    """By 3:1 (WCAG 1.4.11), which axe does not measure."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", THEMES[theme == "dark"]))
    assert re.search(r"^input, textarea \{[^}]*border-color: var\(--field\)", STYLE, re.MULTILINE)
    bright, dark = sorted((luminance(colours["field"]), luminance(colours[around])), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    parts = [int(colour[position : position + 2], 16) / 255 for position in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
