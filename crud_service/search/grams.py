"""Cuts marked text into grams, the keys by which PostgreSQL finds candidates.

A gram is one to four characters of a marked text that stand together in one
run; four are rare enough to tell most blocks apart, and a whole word of two
letters has four with its edges. Text and parts are cut alike, so whatever
holds a part holds its grams.
"""

from crud_service.search.folding import RUN_SEPARATOR

LONGEST = 4


def all_grams(marked: str) -> set[str]:
    """Every gram of a text, or of several texts joined by run separators."""
    runs = marked.split(RUN_SEPARATOR)
    # The last characters of a run begin shorter grams, so all others are beginnings of these.
    longest = {run[i : i + LONGEST] for run in runs for i in range(len(run))}
    return {gram[:length] for gram in longest for length in range(1, len(gram) + 1)}


def part_grams(form: str) -> list[str]:
    """The grams to look a part's form up by: the longest ones that it has."""
    if len(form) <= LONGEST:
        return [form]
    return [form[i : i + LONGEST] for i in range(len(form) - LONGEST + 1)]
