"""The folding of every single character, computed once from Unicode's own data.

`FOLDED` has an entry for every character below U+3100, and for those above that
change when folded: some 30,000 in all. It never grows. A character without an entry
folds to itself.
"""

import re
import unicodedata
from collections.abc import Iterable

from web.characters import IGNORABLE

# No other code points have a decomposition, a case or a mark; the gap is ideographs.
_SCANNED = (*range(0x3400), *range(0xA000, 0xAC00), *range(0xD7A4, 0xD800), *range(0xE000, 0x20000))
_SCANNED += (*range(0x2F800, 0x2FA20), *range(0xE0000, 0xE1000))
_BLOCK = 64
# Characters below it are always listed: a lookup that fails raises an exception, which is slow.
_ALWAYS_LISTED = 0x3100

_ACCENTS = (
    "\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20dc\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic
    "\u08ca-\u08e1\u08e3-\u08ff"
)
_SPACE = re.compile(r"\s")
_DROPPED = re.compile(f"[{_ACCENTS}{IGNORABLE}]")

# What Unicode does not decompose: strokes, the missing dot of the Turkish i (whose
# capital is I), and the apostrophes and hyphens that keyboards and editors use instead
# of the plain ones.
_ALIKE = str.maketrans(
    "øłđħŧƀǥɨı" + "\u2018\u2019\u201a\u201b\u02bb\u02bc\u02bd\u055a\ua78b\ua78c" + "\u2010\u2011",
    "oldhtbgii" + "'" * 10 + "--",
)

# Compatibility decomposition turns a standalone letter like ㅋ into the beginning of a
# syllable, which NFC then merges into the syllable before. These are turned back.
_CONJOINING = re.compile("[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]")
# The vowels and final consonants among them.
_HANGUL_JOINERS = frozenset(map(chr, range(0x1160, 0x1200)))
_STANDALONE = {
    ord(unicodedata.normalize("NFKD", chr(code))): code
    for code in (*range(0x3131, 0x3164), *range(0x3165, 0x318F))
}


def fold_character(character: str) -> str:
    """Return a character without case, accents and width; empty if it is skipped."""
    if character.isspace():
        return character
    folded = character
    while (again := _fold_once(folded)) != folded:
        folded = again
    return folded if _CONJOINING.match(character) else folded.translate(_STANDALONE)


def _fold_once(text: str) -> str:
    lower = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", lower)
    if _SPACE.search(decomposed):
        # A spacing accent decomposes to a space and a mark, and some ligatures to whole
        # sentences. They fold to themselves, or else a part could contain a space.
        canonical = unicodedata.normalize("NFD", text)
        return text if canonical == text else "".join(map(fold_character, canonical))
    bare = _DROPPED.sub("", decomposed).translate(_ALIKE)
    return unicodedata.normalize("NFC", bare)


def _may_change(text: str) -> bool:
    """Return whether a character of a text may fold to something else; cheaper than folding it."""
    return (
        unicodedata.normalize("NFKD", text) != text
        or text.casefold() != text
        or text.translate(_ALIKE) != text
        or _DROPPED.search(text) is not None
    )


def _that_may_change(text: str) -> Iterable[str]:
    """Return the characters of a text that may change; looks at most of them in whole blocks."""
    blocks = (text[start : start + _BLOCK] for start in range(0, len(text), _BLOCK))
    return (c for block in blocks if _may_change(block) for c in block if _may_change(c))


def _is_non_starter(character: str) -> bool:
    return all(unicodedata.combining(c) for c in unicodedata.normalize("NFD", character))


def _is_joiner(character: str) -> bool:
    """Return whether a character may compose with the one before it, or folds to nothing.

    These are marks, Hangul's conjoining letters and vowels that compose, unfolded or folded.
    """
    if character in _COMPOSING:
        return True
    forms = unicodedata.normalize("NFD", character), FOLDED.get(ord(character), character)
    return unicodedata.category(character)[0] == "M" or any(
        not form or unicodedata.combining(form[0]) or form[0] in _HANGUL_JOINERS for form in forms
    )


def _class_of(characters: Iterable[str]) -> str:
    """Return the inside of a regular expression's class for characters in ascending order."""
    ranges: list[list[str]] = []
    for character in characters:
        if ranges and ord(character) == ord(ranges[-1][1]) + 1:
            ranges[-1][1] = character
        else:
            ranges.append([character, character])
    return "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)


# Every process computes this when it starts: a character that neither changes nor is a mark or a
# vowel or final consonant of Hangul joins nothing, and has no parts.
_CHARACTERS = "".join(map(chr, _SCANNED))
_CHANGING = list(_that_may_change(_CHARACTERS))
_COMPOSING = {part for c in _CHANGING for part in unicodedata.normalize("NFD", c)[1:]}
_MARKS = [c for c in _CHARACTERS if unicodedata.category(c)[0] == "M"]

FOLDED: dict[int, str] = {code: chr(code) for code in range(_ALWAYS_LISTED)}
FOLDED |= {ord(c): fold_character(c) for c in _CHANGING}
# Characters that fold to no character or to several.
RESIZED = _class_of(chr(code) for code, folded in FOLDED.items() if len(folded) != 1)
MARKS = _class_of(_MARKS)
# Only marks have a combining class.
NON_STARTERS = _class_of(filter(_is_non_starter, _MARKS))
_MAY_JOIN = sorted({*_CHANGING, *_COMPOSING, *_MARKS, *_HANGUL_JOINERS})
JOINERS = _class_of(filter(_is_joiner, _MAY_JOIN))
