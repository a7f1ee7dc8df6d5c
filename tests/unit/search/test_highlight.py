"""Highlights: whole characters, spans that do not overlap, and a budget."""

# ruff: noqa: RUF001 - characters that look like others are what this is about

import html
import re

import pytest
from hypothesis import example, given
from wcwidth import iter_graphemes

from crud_service.search.text import highlight as highlighting
from crud_service.search.text.folding import EDGE, fold, mark, spell, split_parts
from crud_service.search.text.highlight import Budget
from tests.unit.search.test_folding import finds, short_texts, texts


def highlight(body: str, keyword: str) -> str:
    return highlighting.highlight(body, split_parts(keyword), Budget())


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
        ("x 🤦🏽\u200d♂️!", "🤦", "x <em>🤦🏽\u200d♂️</em>!"),
        ("🇪🇬🇩🇪", "🇬", "<em>🇪🇬</em>🇩🇪"),
        ("1️⃣2", "1", "<em>1️⃣</em>2"),
        ("क्षि", "ष", "<em>क्षि</em>"),
        ("\u1112\u1161\u11ab", "\u1161", "<em>\u1112\u1161\u11ab</em>"),
        ("zero\u200bwidth", "zerowidth", "<em>zero\u200bwidth</em>"),
        ("co\u00adoperate", "oop", "c<em>o\u00adop</em>erate"),
        ("it’s", "it's", "<em>it’s</em>"),
        ("웃겨 ㅋㅋㅠㅠ", "ㅠㅠ", "웃겨 ㅋㅋ<em>ㅠㅠ</em>"),
        ("ｶﾞｷﾞ", "ギ", "ｶﾞ<em>ｷﾞ</em>"),
        ("ßßx", "sx", "ß<em>ßx</em>"),
        ("ﬁx", "ix", "<em>ﬁx</em>"),
    ],
)
def test_highlights(body: str, keyword: str, expected: str) -> None:
    assert highlight(body, keyword) == expected


@given(texts, short_texts)
@example("\ufdfa\u0345", "\u0345")
@example("\xb4\uff9e", "\uff9e")
def test_a_highlight_is_the_escaped_body_with_emphasis(body: str, keyword: str) -> None:
    shown = highlight(body, keyword)
    assert html.unescape(re.sub("</?em>", "", shown)) == body
    assert "<em></em>" not in shown
    assert not re.search("<em>[^<]*<em>", shown)
    emphasised = [html.unescape(text) for text in re.findall("<em>(.*?)</em>", shown, re.DOTALL)]
    assert bool(split_parts(keyword)) or not emphasised
    found = [p for p in keyword.split() if split_parts(p) and finds(p, body)]
    assert bool(found) == bool(emphasised)
    forms = {form for run in keyword.split() for form in (fold(run), spell(run)) if form}
    for text in emphasised:
        assert any(form in mark(text).replace(EDGE, "") for form in forms)


@given(texts, short_texts)
@example("\u0600 a", "\u0600")
def test_emphasis_begins_and_ends_between_user_perceived_characters(
    body: str, keyword: str
) -> None:
    edges = [0]
    for cluster in iter_graphemes(body):
        edges.append(edges[-1] + len(cluster))
    position = 0
    for piece in re.split("(</?em>)", highlight(body, keyword)):
        if piece in ("<em>", "</em>"):
            assert position in edges
        else:
            position += len(html.unescape(piece))


@given(texts)
def test_folding_the_clusters_of_a_body_is_folding_the_body(body: str) -> None:
    token = highlighting._CLUSTER_OR_RESIZED
    assert spell(token.sub(lambda match: fold(match[0]), body)) == fold(body)


def test_a_body_with_too_many_occurrences_is_escaped_only() -> None:
    keyword = " ".join("a" * i for i in range(1, 22))
    assert highlight("a" * 65_535 + "<", keyword) == "a" * 65_535 + "&lt;"
    assert highlight("a" * 100, keyword) == f"<em>{'a' * 100}</em>"


@pytest.mark.parametrize("spent", [{"size": 5}, {"spans": 0}, {"deadline": 0.0}])
def test_a_spent_budget_leaves_bodies_without_emphasis(spent: dict[str, int]) -> None:
    assert highlighting.highlight("hello <", split_parts("hello"), Budget(**spent)) == "hello &lt;"


def test_the_bodies_of_a_page_share_one_budget() -> None:
    budget, parts = Budget(size=25, spans=3), split_parts("a")
    shown = [highlighting.highlight(body, parts, budget) for body in ("a a", "a b", "a" * 20)]
    assert shown == ["<em>a</em> <em>a</em>", "<em>a</em> b", "a" * 20]


def test_a_body_with_too_many_occurrences_is_charged_for_the_search() -> None:
    most = highlighting.MAX_SPANS_OF_A_BODY
    budget = Budget(spans=2 * most)
    body = "a" * (most + 1)
    assert highlighting.highlight(body, split_parts("a"), budget) == body
    assert budget.spans == most
