"""Folding, marking and highlighting, against plain Python."""

# ruff: noqa: RUF001 - characters that look like others are what this is about

import html
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crud_service.search.folding import EDGE, RUN_SEPARATOR, Part, fold, mark, split_parts
from crud_service.search.grams import all_grams, part_grams
from crud_service.search.highlight import highlight
from tests.search_oracle import level

# Letters of many scripts, marks that stay and marks that go, words of other kinds.
ALPHABET = (
    "aAeEéÉßẞſıİKﬁøŁñn1٣½①_-#'.,;&<> \t\n\u3000\u0301\u0308\u0345\u3099あがガｶﾞ한ᄒ\u1161\u11ab"
)
ALPHABET += '東京ёеЙиъشَاأببּאशि्कกำ😀👩\u200d💻❤\ufe0f🇪🇬\ue000\uf8ff´ﷺ≠%\\*?"(~'
texts = st.text(st.sampled_from(ALPHABET) | st.characters(exclude_categories=["Cs"]), max_size=40)
short_texts = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=4)


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
    ],
)
def test_what_differs_in_case_accents_or_width_is_the_same(keyword: str, body: str) -> None:
    assert all(part.inside in mark(body) for part in split_parts(keyword))


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
    ],
)
def test_other_letters_are_not_the_same(keyword: str, body: str) -> None:
    assert not all(part.inside in mark(body) for part in split_parts(keyword))


def test_parts_tell_starts_of_words_and_whole_words() -> None:
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
            assert folded, hex(code)
            assert not any(c.isspace() for c in folded), hex(code)
            assert fold(folded) == folded, hex(code)


@given(texts)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(texts)
def test_normal_forms_and_cases_do_not_matter(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


def naive_fold(text: str) -> str:
    """Folding as one would write it in a line, for text whose every mark is an accent."""
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
def test_marks_change_nothing_about_what_is_found_inside(body: str, keyword: str) -> None:
    for part in keyword.split():
        expected = any(fold(part) in run for run in fold(body).split())
        assert (split_parts(part)[0].inside in mark(body)) == expected


@given(texts, short_texts)
def test_levels_are_those_of_plain_python(body: str, keyword: str) -> None:
    for text, part in zip(dict.fromkeys(fold(keyword).split()), split_parts(keyword), strict=True):
        marked = mark(body)
        found = sum(form in marked for form in (part.inside, part.start, part.whole)) - 1
        assert found == level(text, body)


@given(texts, short_texts)
@example("a,,cd", "cd")
def test_a_text_holds_every_gram_of_a_part_that_it_holds(body: str, keyword: str) -> None:
    marked = mark(body)
    grams = all_grams(marked)
    for part in split_parts(keyword):
        for form in (part.inside, part.start, part.whole):
            if form in marked:
                assert grams >= set(part_grams(form))


@given(texts)
def test_a_folded_text_has_no_character_that_marks_or_joins(text: str) -> None:
    for run in fold(text).split():
        assert EDGE not in run
        assert RUN_SEPARATOR not in run
        assert not re.search("[A-Z]", run)


@pytest.mark.parametrize(
    ("body", "keyword", "expected"),
    [
        ("Rails ails", "ails", "R<em>ails</em> <em>ails</em>"),
        ("<b>&\"'", "b", "&lt;<em>b</em>&gt;&amp;&quot;&#x27;"),
        ("Die Straße!", "STRASSE", "Die <em>Straße</em>!"),
        ("aaaa", "aa", "<em>aaaa</em>"),
        ("hihi", "hi", "<em>hi</em><em>hi</em>"),
        ("abcd", "abc bcd", "<em>abcd</em>"),
        ("cafe\u0301 x", "CAFÉ", "<em>cafe\u0301</em> x"),
        ("don't", "n't", "do<em>n&#x27;t</em>"),
        ("a b", "ab", "a b"),
    ],
)
def test_highlights(body: str, keyword: str, expected: str) -> None:
    assert highlight(body, split_parts(keyword)) == expected


@given(texts, short_texts)
@example("\ufdfa\u0345", "\u0345")
@example("\xb4\uff9e", "\uff9e")
def test_a_highlight_is_the_escaped_body_with_emphasis(body: str, keyword: str) -> None:
    shown = highlight(body, split_parts(keyword))
    assert html.unescape(re.sub("</?em>", "", shown)) == body
    emphasised = [html.unescape(text) for text in re.findall("<em>(.*?)</em>", shown, re.DOTALL)]
    found = [part for part in split_parts(keyword) if part.inside in mark(body)]
    assert bool(found) == bool(emphasised)
    for text in emphasised:
        assert any(fold(run) in mark(text).replace(EDGE, "") for run in keyword.split())
