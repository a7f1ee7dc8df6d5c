"""Which characters are visible: what makes a text blank, and what a search ignores."""

import re
from typing import Final

# Default_Ignorable_Code_Point of Unicode, as the inside of a regular expression's
# class: soft hyphen, joiners, fillers, directions, variation selectors, tags.
IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BRAILLE_BLANK = "\u2800"
# Possessive: a long text of blanks with a letter at its end is still read once.
_BLANK: Final = re.compile(rf"[\s\x00-\x1f\x7f-\x9f{_BRAILLE_BLANK}{IGNORABLE}]*+")


def is_blank(text: str) -> bool:
    """Whether a text has no visible character; stops at the first one."""
    if "!" <= text[:1] <= "~":
        return False  # it begins with a visible character of ASCII, as most do
    return _BLANK.fullmatch(text) is not None
