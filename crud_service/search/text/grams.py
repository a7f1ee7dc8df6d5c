"""Cuts marked text into grams, the keys by which PostgreSQL finds candidates.

A gram is one to four consecutive characters of a run of marked text. Four characters
are rare enough to tell most blocks apart, and a whole word of two letters has four
with its edges. A whole word of three letters is a gram too: cut in two, it would match
every block in which some word begins with those letters and another one ends with
them. Texts and parts are cut alike, so a text that contains a part contains its grams.
"""

import re

from crud_service.search.text.folding import EDGE, RUN_SEPARATOR

LONGEST = 4
_WORD_OF_THREE = re.compile(f"(?<={EDGE})[^{EDGE}{RUN_SEPARATOR}]{{3}}(?={EDGE})")


def all_grams(marked: str) -> set[str]:
    """Return every gram of a text, or of several texts joined by run separators."""
    runs = marked.split(RUN_SEPARATOR)
    # One per character, shorter at the end of a run: all other grams are prefixes of these.
    longest = {run[i : i + LONGEST] for run in runs for i in range(len(run))}
    grams = {gram[:length] for gram in longest for length in range(1, len(gram) + 1)}
    return grams.union(f"{EDGE}{word}{EDGE}" for word in _WORD_OF_THREE.findall(marked))


def part_grams(form: str) -> list[str]:
    """Return the grams by which to look up a part's form: its longest ones."""
    if len(form) <= LONGEST or is_word_of_three(form):
        return [form]
    return [form[i : i + LONGEST] for i in range(len(form) - LONGEST + 1)]


def is_word_of_three(form: str) -> bool:
    return len(form) == 5 and form[0] == form[4] == EDGE and EDGE not in form[1:4]
