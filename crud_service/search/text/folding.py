"""What counts as the same text, and what counts as a word: one meaning for every backend.

Each character is folded on its own: case, accents and width are removed. Accents
are removed in the scripts where readers leave them out (Latin, Greek and
Cyrillic, ё and й included; Arabic and Hebrew points). Marks that make another
letter are kept (kana voicing, the vowel signs of Indic scripts, Thai tones).
Invisible characters are skipped. Standalone Korean letters stay standalone.

A text has two readings. `spell` folds letter by letter, so the spelling of any
substring is a substring of the spelling: a body that contains a part verbatim is
always found by it. `fold` also composes letters with the marks that were kept,
so that か with a separate voicing mark equals が, and conjoining Hangul letters
equal their syllable. The two differ for few texts; those are stored, and
searched for, in both readings.

`mark` writes a space at each edge of a word, a word being a run of letters,
digits and marks. Runs separated by white space are joined by line feeds. So
plain substring matches in one text answer three questions: whether a part occurs
"inside", at a word's "start", or as a "whole" word. No escaping is needed: a folded
run contains no white space of its own.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from crud_service.search.text.character_table import FOLDED, JOINERS, MARKS, NON_STARTERS

# Raise it with every change to what `mark` returns.
_RULES = 2
# Stored texts of another format are folded again in the background (see `refold`). Python's
# Unicode version is part of it: a newer Python folds some characters differently.
_UNICODE = unicodedata.unidata_version.split(".")
TEXT_FORMAT = _RULES * 10_000 + int(_UNICODE[0]) * 100 + int(_UNICODE[1])

EDGE = " "
RUN_SEPARATOR = "\n"

# Normalising a run of marks takes quadratic time, so a longer run is normalised
# in pieces (UAX #15, Stream-Safe Text Format).
MAX_MARKS = 30
# From the first mark on. Few texts have that many of these characters in a row, and the class is
# searched for in a tenth of the time.
_MAY_HAVE_LONG_RUN = re.compile(f"[{NON_STARTERS[0]}-\U0010ffff]{{{MAX_MARKS + 1}}}")
_LONG_RUN = re.compile(f"[{NON_STARTERS}]{{{MAX_MARKS + 1}}}")
_PIECE = re.compile(f"[^{NON_STARTERS}]*+[{NON_STARTERS}]{{0,{MAX_MARKS}}}+")

# A character with what may compose with it: it folds the same alone and within a text.
CLUSTER = re.compile(rf"[^\s{JOINERS}][{JOINERS}]++|[{JOINERS}]++")

# The groups are for `split`, which returns the words too.
_WORD = re.compile(rf"((?:[^\W_]+|[{MARKS}]+)+)")
_ASCII_WORD = re.compile(r"([a-z0-9]+)")


def spell(text: str) -> str:
    """Fold each character by itself; white space stays where it is."""
    return text.lower() if text.isascii() else text.translate(FOLDED)


def fold(text: str) -> str:
    """Fold a text and compose its letters, so that equivalent texts become equal."""
    return read(text).folded


class Readings(NamedTuple):
    """Both readings of a text: `fold(text)` and `spell(text)`."""

    folded: str
    spelled: str


def read(text: str) -> Readings:
    """Return both readings, at a lower cost than calling both functions."""
    spelled = spell(text)
    if text.isascii():
        return Readings(spelled, spelled)
    composed = compose(text)
    return Readings(compose(spelled if composed == text else spell(composed)), spelled)


def compose(text: str) -> str:
    """Normalise to NFC in linear time: runs of more than MAX_MARKS marks piece by piece."""
    if not _MAY_HAVE_LONG_RUN.search(text) or not _LONG_RUN.search(text):
        return unicodedata.normalize("NFC", text)
    return "".join(unicodedata.normalize("NFC", piece) for piece in _PIECE.findall(text))


def mark(text: str) -> str:
    """Fold a text, separate its runs and mark the edges of its words.

    Runs whose spelling differs from their folded form are included in both forms.
    """
    folded, spelled = read(text)
    runs = folded.split()
    if spelled != folded:
        known = set(runs)
        runs += dict.fromkeys(run for run in spelled.split() if run not in known)
    return mark_folded(RUN_SEPARATOR.join(runs))


def mark_folded(folded: str) -> str:
    word = _ASCII_WORD if folded.isascii() else _WORD
    return EDGE.join(word.split(folded))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a keyword, as it looks in a marked text at each level of a match.

    An end that is not a letter cuts no word, so it needs no edge: `c++` in
    `c++11` is whole. `spelled` is the part's other reading, if it has one.
    """

    inside: str
    start: str
    whole: str
    spelled: "Part | None" = None

    @property
    def readings(self) -> "tuple[Part, ...]":
        """The readings of the part, of which one has to match."""
        return (self,) if self.spelled is None else (self, self.spelled)

    @property
    def folded(self) -> str:
        return self.inside.replace(EDGE, "")


def split_parts(keyword: str) -> tuple[Part, ...]:
    """Return the distinct parts of a keyword, in their order.

    A part that folds to nothing (only accents) requires nothing and is left out;
    a keyword without parts matches every message.
    """
    readings = dict.fromkeys(read(run) for run in keyword.split())
    return tuple(_part(folded, spelled) for folded, spelled in readings if folded)


def _part(folded: str, spelled: str) -> Part:
    other = _part(spelled, spelled) if spelled != folded else None
    whole = mark_folded(folded)
    start = whole.removesuffix(EDGE)
    return Part(start.removeprefix(EDGE), start, whole, other)
