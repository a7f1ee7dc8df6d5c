"""Visible and blank texts."""

import sys

import pytest

from web.characters import is_blank
from web.fields import check_keyword, check_message_body, check_name
from web.problems import ValidationFailed

INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200d\u200e\u202e\u2060\u2066"
INVISIBLE += "\u3164\ufe0f\ufeff\uffa0\ufff0\U0001bca0\U0001d173\U000e0001\U000e0041\U000e0100"
BLANKS = ["", *" \t\n\x01\x1b\x7f\x85\xa0\u2028\u2800\u3000", *INVISIBLE, INVISIBLE + " \x07\u2800"]


@pytest.mark.parametrize("text", BLANKS, ids=ascii)
@pytest.mark.parametrize("check", [check_name, check_message_body, check_keyword])
def test_a_text_of_invisible_characters_is_blank(check: object, text: str) -> None:
    assert callable(check)
    with pytest.raises(ValidationFailed) as problem:
        check(text)
    assert problem.value.errors[0]["message"] == "Must not be blank."


@pytest.mark.parametrize(
    "visible", ["a", "\u0301", "ㅋ", "👩", "\ue000", "\u0600", "\U0010ffff", "'"]
)
def test_one_visible_character_is_enough_and_all_are_kept(visible: str) -> None:
    text = f"{INVISIBLE}\n{visible}\u200b"
    assert check_message_body(text) == text


def test_a_long_blank_text_is_read_once() -> None:
    assert is_blank("\u200b " * 500_000)
    assert not is_blank("\u200b " * 500_000 + "a")


def test_unassigned_and_private_characters_are_visible() -> None:
    blank = [chr(c) for c in range(sys.maxunicode + 1) if is_blank(chr(c))]
    # White space, controls, the blank of Braille and Default_Ignorable_Code_Point.
    assert len(blank) == 4259
