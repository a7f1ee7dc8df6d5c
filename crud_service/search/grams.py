"""Cuts marked text into grams, the terms by which both backends find candidates.

A gram is one, two or three characters of a marked text that stand together in
one run, or a whole word of two letters, whose three-letter grams are common.
Text and parts are cut alike, so whatever holds a part holds its grams.
"""

import re

from crud_service.search.folding import RUN_SEPARATOR

_SHORT_WORD = re.compile(" [^ \\n]{2} ")
# Looks ahead, since an edge may end one match and begin the next.
_SHORT_WORDS = re.compile("(?=( [^ \\n]{2} ))")


def all_grams(marked: str) -> set[str]:
    """Every gram of a text, or of several texts joined by run separators."""
    texts = marked.split(RUN_SEPARATOR)
    triples = {run[i : i + 3] for run in texts for i in range(len(run))}
    pairs = {gram[:2] for gram in triples}
    return triples | pairs | {gram[:1] for gram in pairs} | set(_SHORT_WORDS.findall(marked))


def part_grams(form: str) -> list[str]:
    """The grams to look a part's form up by: the longest ones that it has."""
    if len(form) <= 3 or _SHORT_WORD.fullmatch(form):
        return [form]
    return [form[i : i + 3] for i in range(len(form) - 2)]
