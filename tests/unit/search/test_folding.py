"""Folding and marking, against plain Python."""

# ruff: noqa: RUF001 - characters that look like others are what this is about

import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crud_service.search.text.character_table import FOLDED, JOINERS
from crud_service.search.text.folding import (
    EDGE,
    RUN_SEPARATOR,
    TEXT_FORMAT,
    Part,
    compose,
    fold,
    mark,
    spell,
    split_parts,
)
from crud_service.search.text.grams import all_grams, part_grams
from tests.search_oracle import level, parts
from web.characters import is_blank

# Letters of many scripts, marks that stay and marks that go, words of other kinds.
ALPHABET = (
    "aAeEéÉßẞſıİKﬁøŁñn1٣½①_-#'.,;&<> \t\n\u3000\u0301\u0308\u0345\u3099あがガｶﾞ한ᄒ\u1161\u11ab"
)
ALPHABET += '東京ёеЙиъشَاأببּאशि्कกำ😀👩\u200d💻❤\ufe0f🇪🇬\ue000\uf8ff´ﷺ≠%\\*?"(~'
texts = st.text(st.sampled_from(ALPHABET) | st.characters(exclude_categories=["Cs"]), max_size=40)
short_texts = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=4)


def finds(keyword: str, body: str) -> bool:
    """Return whether a body matches a keyword, by the forms that both backends search for."""
    marked = mark(body)
    return all(any(one.inside in marked for one in p.readings) for p in split_parts(keyword))


@pytest.mark.parametrize(
    ("keyword", "body"),
    [
        ("cafe", "Café"),
        ("CAFÉ", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("straße", "STRASSE"),
        ("nino", "niño"),
        ("abc", "ＡＢＣ"),
        ("ＡＢＣ", "abc"),
        ("ガ", "ｶﾞ"),
        ("ﾊﾟ", "パ"),
        ("istanbul", "İSTANBUL"),
        ("DIŞ", "dış"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("елка", "Ёлка"),
        ("привет", "ПРИВЕТ"),
        ("lodz", "Łódź"),
        ("شكرا", "شُكْرًا"),
        ("احمد", "أحمد"),
        ("שלום", "שָׁלוֹם"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
        ("fi", "ﬁnal"),
        ("❤", "❤️"),
        ("❤️", "❤"),
        ("hi", "hi1"),
        ("ails", "Rails"),
        ("👩\u200d💻", "a👩\u200d💻b"),
        ("ㅠㅠ", "웃겨 ㅋㅋㅠㅠ"),
        ("ㅋㅋ", "웃겨 ㅋㅋㅠㅠ"),
        ("ㅋㅠ", "ㅋㅋㅠㅠ"),
        ("요", "요ㄳ"),
        ("ㄳ", "요ㄳ"),
        ("ㅋㅋ", "ﾻﾻ"),
        ("ㄱ", "㉠"),
        ("zerowidth", "zero\u200bwidth"),
        ("zero\u200bwidth", "zerowidth"),
        ("cooperate", "co\u00adoperate"),
        ("mark", "\ufeffmark"),
        ("نمیخواهم", "نمی\u200cخواهم"),
        ("ab", "a\u202e\ufe0f\U000e0041b"),
        ("it's", "it’s"),
        ("it’s", "it's"),
        ("rock 'n' roll", "rock ‘n’ roll"),
        ("it's", "it\u02bcs it＇s"),
        ("e-mail", "e\u2011mail"),
        ("e\u2010mail", "e-mail"),
    ],
)
def test_texts_differing_in_case_accents_or_width_are_equal(keyword: str, body: str) -> None:
    assert finds(keyword, body)


@pytest.mark.parametrize(
    ("keyword", "body"),
    [
        ("か", "が"),
        ("ハ", "パ"),
        ("하", "한"),
        ("क", "कि"[1:]),
        ("ab", "a b"),
        ("ab", "a\u3000b"),
        ("\ue000", "a"),
        ("´", "e\u0301"),
        ("큐", "ㅋㅋㅠㅠ"),
        ("크", "ㅋㅡ"),
        ("욗", "요ㄳ"),
        ("ᄏ", "ㅋ"),
    ],
)
def test_other_letters_are_not_the_same(keyword: str, body: str) -> None:
    assert not finds(keyword, body)


def test_parts_distinguish_starts_of_words_and_whole_words() -> None:
    assert split_parts("hi #tag C++ don't HI") == (
        Part("hi", " hi", " hi "),
        Part("# tag", "# tag", "# tag "),
        Part("c ++", " c ++", " c ++"),
        Part("don ' t", " don ' t", " don ' t "),
    )


def test_every_character_folds_to_something_stable_without_white_space() -> None:
    for code in [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]:
        character = chr(code)
        if not character.isspace():
            folded = fold(character)
            assert folded or is_blank(character) or unicodedata.category(character)[0] in "MC"
            assert not any(c.isspace() for c in folded), hex(code)
            assert fold(folded) == folded, hex(code)


@given(texts)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(texts)
def test_normal_forms_and_cases_do_not_matter(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


def naive_fold(text: str) -> str:
    """Fold in the obvious way, for text in which every mark is an accent."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


@given(
    st.text("aAbBzZéÉöñÑüçßﬁＡｂ東京ПпЁёЙЩ09._-#😀 \n"),
    st.text("aéÖñßＡ東ё0.#😀", min_size=1, max_size=4),
)
def test_a_part_is_found_where_a_naive_search_finds_it(body: str, part: str) -> None:
    expected = any(naive_fold(part) in run for run in naive_fold(body).split())
    assert (split_parts(part)[0].inside in mark(body)) == expected


@given(texts, short_texts)
def test_edges_do_not_change_matches_inside_words(body: str, keyword: str) -> None:
    for part in keyword.split():
        runs = {*fold(body).split(), *spell(body).split()}
        expected = any(form in run for form in (fold(part), spell(part)) for run in runs)
        assert finds(part, body) == expected or not fold(part)


@given(texts, short_texts)
def test_levels_are_those_of_plain_python(body: str, keyword: str) -> None:
    marked = mark(body)
    for text, part in zip(parts(keyword), split_parts(keyword), strict=True):
        forms = ([one.inside, one.start, one.whole] for one in part.readings)
        found = max(sum(form in marked for form in levels) - 1 for levels in forms)
        assert found == level(text, body)


@given(texts, short_texts)
@example("a,,cd", "cd")
def test_a_text_contains_every_gram_of_a_part_that_it_contains(body: str, keyword: str) -> None:
    marked = mark(body)
    grams = all_grams(marked)
    for part in [one for each in split_parts(keyword) for one in each.readings]:
        for form in (part.inside, part.start, part.whole):
            if form in marked:
                assert grams >= set(part_grams(form))


@given(texts)
def test_a_folded_text_contains_no_edge_or_separator(text: str) -> None:
    for run in fold(text).split():
        assert EDGE not in run
        assert RUN_SEPARATOR not in run
        assert not re.search("[A-Z]", run)


@given(texts, st.integers(0, 40), st.integers(1, 40))
@example("か\u3099", 0, 1)
@example("がが", 0, 3)
@example("xｶﾞ", 0, 2)
@example("a\u0301\u0316bc", 1, 3)
@example("한", 1, 2)
@example("\u0e01\u0e48\u0e38", 1, 2)
@example("ᄒ" + "ᅡ" * 3 + "ᆫ", 1, 3)
def test_a_body_that_contains_a_part_verbatim_is_found_by_it(
    body: str, start: int, length: int
) -> None:
    assert finds(body[start : start + length], body)


@given(
    st.lists(st.sampled_from("aか\u3099\u0e38\u0e48\u0301\u0316각\u1161\u11a8ো"), min_size=1),
    st.integers(1, 200),
    st.integers(0, 500),
    st.integers(1, 256),
)
def test_a_part_cut_out_of_a_long_run_of_marks_is_found(
    pattern: list[str], repeats: int, start: int, length: int
) -> None:
    body = "".join(pattern) * repeats
    start %= len(body)
    assert finds(body[start : start + length], body)


@given(texts)
def test_equivalent_texts_find_each_other(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    for body in (text, *forms):
        for run in (run for form in forms for run in form.split()):
            assert finds(run, body)


def worst_bodies() -> dict[str, str]:
    """Return the bodies of 64 KB that are the most expensive to fold, each for another reason."""
    return {
        "marks out of order": "a" + "\u0301" * 16_383 + "\u0316" * 16_383,
        "marks that stay, out of order": "ก" + "\u0e48" * 10_900 + "\u0e38" * 10_900,
        "marks in turns": "a" + "\u0301\u0316" * 16_383,
        "marks that decompose": "\u0344" * 32_768,
        "runs just below the bound": ("a" + "\u0316\u0301" * 15) * 1074,
        "letters that become three": "\U0001d160" * 16_384,
        "loose Hangul letters": unicodedata.normalize("NFD", "각") * 7281,
        "squares": "\u3300" * 21_845,
    }


@pytest.mark.parametrize("reason", worst_bodies())
def test_every_body_is_folded_quickly(reason: str) -> None:
    """The bound is generous: in quadratic time they took seconds."""
    body = worst_bodies()[reason]
    assert 60_000 < len(body.encode()) <= 65_536
    started = time.thread_time()
    mark(body)
    assert time.thread_time() - started < 0.5


def test_the_table_of_characters_has_a_known_size() -> None:
    assert len(FOLDED) < 30_000
    assert sum(len(folded) for folded in FOLDED.values()) < 100_000
    before = len(FOLDED)
    fold("".join(map(chr, range(0x4E00, 0xA000))))
    assert len(FOLDED) == before


def test_characters_outside_the_table_fold_to_themselves() -> None:
    for code in [*range(0x3100, 0xD800), *range(0xE000, 0x110000)]:
        if code not in FOLDED:
            character = chr(code)
            assert unicodedata.normalize("NFKC", character).casefold() == character, hex(code)


def test_another_version_of_unicode_is_another_format_of_texts() -> None:
    major, minor, _ = map(int, unicodedata.unidata_version.split("."))
    assert major * 100 + minor == TEXT_FORMAT % 10_000
    assert TEXT_FORMAT > 10_000


def test_characters_compose_with_the_one_before_only_when_they_are_joiners() -> None:
    joiner = re.compile(f"[{JOINERS}]")
    for code in [*range(0xD800), *range(0xE000, 0x20000)]:
        pair = unicodedata.normalize("NFD", chr(code))
        for second in pair[1:]:
            assert joiner.match(second), hex(code)


@given(texts)
def test_composing_in_pieces_is_nfc_for_runs_of_up_to_30_marks(text: str) -> None:
    assert compose(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("keyword", ["\u0301", "\u0301\u0316 \u0301", "a\u200b \u0301"])
def test_a_part_of_accents_alone_requires_nothing(keyword: str) -> None:
    assert [part.folded for part in split_parts(keyword)] == ["a"][: keyword.count("a")]
