"""What counts as the same text, and what counts as a word: one meaning for every backend.

`fold` forgets case, accents and width. A letter is compared without its
accents in the scripts where readers leave them out (Latin, Greek, Cyrillic,
ё and й included; Arabic and Hebrew points); marks that make another letter stay
(kana voicing, Hangul, the vowel signs of Indic scripts, Thai tones).

`mark` writes a space on every edge of a word, a word being a run of letters,
digits and marks. Runs that white space divides are joined by line feeds. So
one text answers three questions by plain substrings: a part occurs "inside",
at a word's "start", or as a "whole" word. No neutralising is needed: a folded
run holds no white space of its own.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

EDGE = " "
RUN_SEPARATOR = "\n"

# Code points beyond have neither marks nor cases, but for the supplementary
# variation selectors, which are marks.
_SCANNED = (*range(0x80, 0x20000), *range(0xE0100, 0xE01F0))

_ACCENTS = (
    "\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20dc\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u08ca-\u08e1\u08e3-\u08ff"
    "\ufe0e\ufe0f"  # whether a character is drawn as text or as an emoji
)
# Strokes, and the missing dot of the Turkish i (whose capital is I), have no
# decomposition in Unicode.
_STROKES = str.maketrans("øłđħŧƀǥɨı", "oldhtbgii")


def _joins(character: str) -> bool:
    """Whether a character may melt into the one before it: marks, and Hangul jamo."""
    first = unicodedata.normalize("NFKD", character)[0]
    return (
        unicodedata.category(character)[0] == "M"
        or unicodedata.combining(first) != 0
        or "\u1160" <= first <= "\u11ff"
    )


def _ranges(characters: list[str]) -> str:
    """Characters in order as the inside of a regular expression's class."""
    ranges: list[list[str]] = []
    for character in characters:
        if ranges and ord(character) == ord(ranges[-1][1]) + 1:
            ranges[-1][1] = character
        else:
            ranges.append([character, character])
    return "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)


_JOINERS = _ranges([chr(code) for code in _SCANNED if _joins(chr(code))])
_JOINER = re.compile(f"[{_JOINERS}]")
_CLUSTER = re.compile(rf"[^\s{_JOINERS}][{_JOINERS}]+|[{_JOINERS}]+")
SEGMENT = re.compile(rf"[^\s{_JOINERS}][{_JOINERS}]*|[{_JOINERS}]+")
_ACCENT = re.compile(f"[{_ACCENTS}]")
_MARKS = _ranges([chr(code) for code in _SCANNED if unicodedata.category(chr(code))[0] == "M"])
_WORD = re.compile(rf"(?:[^\W_]+|[{_MARKS}]+)+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=65_536)
def fold_segment(segment: str) -> str:
    """A character with the marks behind it, folded; never empty."""
    folded = segment
    while (again := _fold_once(folded)) != folded:
        folded = again
    # Where the letter stood for itself, the marks behind it are folded on their own.
    return folded if len(segment) == 1 else folded.translate(_table)


def _fold_once(segment: str) -> str:
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", segment).casefold())
    if any(character.isspace() for character in text):
        # A spacing accent is a space and a mark, and some ligatures are whole
        # sentences: these stand for themselves, or a part could hold a space.
        return unicodedata.normalize("NFC", segment)
    bare = _ACCENT.sub("", text) or text
    return unicodedata.normalize("NFC", bare.translate(_STROKES))


class _Table(dict[int, str]):
    """Folds single characters for `str.translate`, each looked up once."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = self[code] = character if character.isspace() else fold_segment(character)
        return folded


_table = _Table()


def fold(text: str) -> str:
    """Text without case, accents and width; its white space stays where it is."""
    if text.isascii():
        return text.lower()
    if _JOINER.search(text):
        text = _CLUSTER.sub(lambda match: fold_segment(match[0]), text)
    return text.translate(_table)


def mark(text: str) -> str:
    """A text folded, with the edges of its words marked and its runs apart."""
    return mark_folded(RUN_SEPARATOR.join(fold(text).split()))


def mark_folded(folded: str) -> str:
    """A folded text with an edge on both sides of every word."""
    word = _ASCII_WORD if folded.isascii() else _WORD
    return word.sub(_with_edges, folded)


def _with_edges(match: re.Match[str]) -> str:
    return f"{EDGE}{match[0]}{EDGE}"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a keyword, as it looks in a marked text at each level of a match.

    An end that is not a letter cuts no word, so it needs no edge: `c++` in
    `c++11` is whole.
    """

    inside: str
    start: str
    whole: str


def split_parts(keyword: str) -> tuple[Part, ...]:
    """The different parts of a keyword, in their order."""
    return tuple(_part(run) for run in dict.fromkeys(fold(keyword).split()))


def _part(folded: str) -> Part:
    whole = mark_folded(folded)
    start = whole.removesuffix(EDGE)
    return Part(start.removeprefix(EDGE), start, whole)
