"""One search, two backends: the same tests on both, compared with plain Python."""

import html
import random
import socket
import time
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import pytest

from tests.integration.search.search_stores import SearchStores, items
from tests.search_oracle import find, matches, ordered

# ruff: noqa: RUF001 - characters that look like others are what this is about
from web.problems import NotFound, ValidationFailed

WORDS = "a e so the then other there Café straße niño don't c++ #tag http://x.y/z 50% _a_ "
WORDS += "привет Ёлка 東京 東京タワー ｶﾞｷﾞ がか مرحبا שָׁלוֹם क्षि 한글 😀 👩\u200d💻 ❤️ (AND)"
WORDS += ' ~ \\ " * ? tea ten rest'
WORDS += (
    " ㅋㅋㅠㅠ 요ㄳ zero\u200bwidth co\u00adoperate it’s it's e\u2011mail か\u3099 か\u3099か が"
)
WORDS += " ｶﾞｶ \u1112\u1161\u11ab 🤦🏽\u200d♂️"
KEYWORDS = (
    "a e t h th te the her ea 東 京タ 東京 c + ++ c++ ' n't % _ \\ \" * ? ( ~ AND / :// . x.y"
)
KEYWORDS += " CAFE strasse nino елка привет がか か ガギ क 한 한글 😀 👩 ❤ ſ zzz qq the_ __ ** OR"
KEYWORDS += " ㅋㅋ ㅠ 큐 요 ㄳ rowi ooper t’s n’t e-m か が か\u3099か がか ｶ ｶﾞｶ"
KEYWORDS += " \u1112 \u1112\u1161 🤦 \u0301"


def bodies(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = WORDS.split()
    return [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(count)]


# Messages take longer to index than to search: a test searches them in all ways.
SORTS = ("relevance", "number", "-number")


class Search(NamedTuple):
    chat: int
    keyword: str
    sort: str
    expected: list[int]


@cache
def expected_searches() -> tuple[dict[int, list[str]], list[Search]]:
    """A long and a short chat, with searches and what they find: the same for both backends."""
    texts = {1: bodies(1700, seed=1), 2: bodies(150, seed=2)}
    rng = random.Random(3)
    keywords = KEYWORDS.split()
    keywords += [" ".join(rng.sample(keywords, rng.randint(2, 4))) for _ in range(20)]
    searches = []
    for (chat, chat_bodies), keyword in product(texts.items(), keywords):
        found = matches(keyword, enumerate(chat_bodies, 1))
        searches += [Search(chat, keyword, sort, ordered(found, sort)) for sort in SORTS]
    return texts, searches


def test_short_and_long_chats_are_searched_as_plain_python_would(
    any_backend: SearchStores,
) -> None:
    texts, searches = expected_searches()
    for chat, chat_bodies in texts.items():
        any_backend.add(*chat_bodies, chat=chat)
    any_backend.index_all()
    assert any_backend.count("search_blocks") > 0
    for chat, keyword, sort, expected in searches:
        found = any_backend.find(keyword, chat, sort=sort, limit=1000)
        assert found == expected[:1000], (keyword, sort)


def test_pages_follow_one_another_without_gap_or_repeat(any_backend: SearchStores) -> None:
    texts = bodies(1900, seed=4)
    any_backend.add(*texts)
    any_backend.index_all()
    for keyword, sort in product(("e", "the e"), SORTS):
        pages = list(follow(any_backend, keyword, sort=sort, limit=147))
        assert {len(items(page)) for page in pages[:-1]} == {147}, (keyword, sort)
        found = [item["number"] for page in pages for item in items(page)]
        assert found == find(keyword, enumerate(texts, 1), sort), (keyword, sort)


def follow(stores: SearchStores, keyword: str, **options: object) -> Iterator[Any]:
    """Yield the pages of a search."""
    cursor = None
    while True:
        page = stores.search(keyword, cursor=cursor, **options)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def test_order_is_whole_words_then_starts_then_inside_then_newest(
    any_backend: SearchStores,
) -> None:
    any_backend.add("arthi", "hi", "hiking", "this", "Hi!", "nothing")
    any_backend.index_all()
    assert any_backend.find("hi") == [5, 2, 3, 6, 4, 1]


def test_every_part_must_occur_and_none_crosses_white_space(any_backend: SearchStores) -> None:
    any_backend.add("red green", "redgreen", "red", "green\nred", "re d")
    any_backend.index_all()
    assert any_backend.find("red green") == [4, 1, 2]
    assert any_backend.find("dgr") == [2]
    assert any_backend.find("d g") == [4, 1, 2]


def test_a_chat_finds_its_own_messages_only(any_backend: SearchStores) -> None:
    any_backend.add("hello one", chat=1)
    any_backend.add("hello two", chat=11)
    any_backend.index_all()
    assert [item["body"] for item in items(any_backend.search("hello", 11))] == ["hello two"]
    assert any_backend.find("one", 11) == []


def test_a_body_of_maximum_size_is_found_by_its_ends(any_backend: SearchStores) -> None:
    any_backend.add("start" + "x" * 65_520 + "theend", "ж" * 32_768, "y " * 30_000 + "last")
    any_backend.index_all()
    for keyword, number in [("artx", 1), ("xthe", 1), ("жжжж", 2), ("last", 3), ("x" * 256, 1)]:
        assert any_backend.find(keyword) == [number], keyword


def test_long_messages_in_a_long_chat_are_found(any_backend: SearchStores) -> None:
    long = " ".join(f"word{i}" for i in range(1500))
    any_backend.add(*["filler"] * 200, *[long] * 64, *["filler"] * 1700, long)
    any_backend.index_all()
    assert any_backend.count("search_blocks") > 0
    assert any_backend.find("ord1499")[:2] == [1965, 264]
    assert len(any_backend.find("ord1499")) == 65


@pytest.mark.parametrize(
    ("body", "found_by", "not_found_by"),
    [
        ("웃겨 ㅋㅋㅠㅠ", "ㅠㅠ ㅋㅋ ㅋㅠ 웃 웃겨", "큐 크 ㅠㅋ"),
        ("요ㄳ", "요 ㄳ 요ㄳ", "욗 ㄱㅅ"),
        ("ﾻﾻ", "ㅋ ㅋㅋ ﾻ", "크"),
        ("zero\u200bwidth", "zerowidth zero\u200bwidth owi zero width \u200bwid", "zero-width"),
        ("co\u00adoperate", "cooperate co\u00adoperate oop", "co-operate"),
        ("\ufeffmark", "mark \ufeffmark", "-mark"),
        ("it’s", "it's it’s ’ '", "its"),
        ("it's", "it’s it\u201bs it\u02bcs it＇s", "its"),
        ("e\u2011mail", "e-mail e\u2011mail e\u2010mail -", "email"),
        ("か\u3099か", "か が か\u3099か がか \u3099か", "は"),
        ("が", "が か\u3099", "か ｶﾞ"),
        ("ｶﾞｷﾞ", "ｶ ガギ ｶﾞｷ ﾞｷ カ\u3099ギ", "カギ"),
        ("\u1112\u1161\u11ab", "한 \u1112 \u1161\u11ab \u1112\u1161", "하"),
        ("한", "한 \u1112\u1161\u11ab", "하 \u1112\u1161"),
        ("cafe\u0301s", "cafés \u0301s e\u0301 CAFES", "cafs"),
        ("a" + "\u0316\u0301" * 100 + "b", "\u0301\u0316b ab a\u0301", "ba"),
        ("ก" + "\u0e48\u0e38" * 100, "\u0e48\u0e38\u0e48 ก\u0e48 " + "\u0e38\u0e48" * 60, "ข"),
        ("🤦🏽\u200d♂️", "🤦 🤦🏽\u200d♂️ 🏽 ♂", "🤷"),
        ('100%_\\*?"(AND~', '% _ \\ * ? " ( AND ~ 0%_\\', "%% .*"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_text_that_readers_consider_equal_is_found(
    any_backend: SearchStores, body: str, found_by: str, not_found_by: str
) -> None:
    any_backend.add("zz", body)
    any_backend.index_all()
    for keyword in found_by.split():
        assert any_backend.find(keyword) == [2], ascii(keyword)
        (item,) = items(any_backend.search(keyword, highlight=True))
        assert "<em>" in item["highlight"], ascii(keyword)
    for keyword in not_found_by.split():
        assert any_backend.find(keyword) == [], ascii(keyword)


def test_a_keyword_of_accents_alone_matches_everything(any_backend: SearchStores) -> None:
    any_backend.add("a\u0301b", "c")
    any_backend.index_all()
    assert any_backend.find("\u0301") == [2, 1]
    assert any_backend.find("\u0301 c") == [2]
    (first, _) = items(any_backend.search("\u0301", highlight=True))
    assert first["highlight"] == "c"


def test_many_parts_with_two_readings_each_are_found_in_a_long_chat(
    any_backend: SearchStores,
) -> None:
    text = "xかx が がy ごz ぐw ぎv"
    any_backend.add(*["filler"] * 1800, unicodedata.normalize("NFD", text), text)
    any_backend.index_all()
    for keyword in ("が ご", "がy ごz ぐw ぎv", unicodedata.normalize("NFD", text)):
        decomposed = unicodedata.normalize("NFD", keyword)
        assert any_backend.find(decomposed) == find(
            decomposed, [(1801, unicodedata.normalize("NFD", text)), (1802, text)]
        )


# The messages of a page are read and highlighted in the same way, whichever backend found them.
def test_a_page_of_the_longest_messages_is_highlighted_within_its_budget(
    search_stores: SearchStores,
) -> None:
    search_stores.add(*["lorem ipsum <dolor> sit amet " * 2300] * 100)
    search_stores.index_all()
    started = time.thread_time()
    page = items(search_stores.search("lorem", limit=1000, highlight=True))
    assert time.thread_time() - started < 4  # all of them took 15 seconds
    assert page[0]["highlight"].startswith("<em>lorem</em> ipsum &lt;dolor&gt;")
    assert html.unescape(page[-1]["highlight"]) == page[-1]["body"]


def test_a_page_that_becomes_too_large_ends_early_and_links_to_the_next(
    any_backend: SearchStores,
) -> None:
    # Elasticsearch indexes each character, and a page is measured in bytes.
    any_backend.add(*['lorem "' + "東" * 21_666] * 150, *["short lorem"] * 10)
    any_backend.index_all()
    for sort, highlight in product(("relevance", "number"), (False, True)):
        pages = list(follow(any_backend, "lorem", limit=1000, sort=sort, highlight=highlight))
        assert all(len(page.items) < 9_000_000 for page in pages)
        found = [item["number"] for page in pages for item in items(page)]
        expected = list(range(1, 161))
        assert found == (expected if sort == "number" else expected[::-1]), (sort, highlight)
        assert len(pages) == (3 if highlight else 2), (sort, highlight)


def test_a_page_ends_early_by_its_size_on_the_wire(search_stores: SearchStores) -> None:
    search_stores.add(*["x" + "\x01" * 65_000] * 40)  # each control character takes six bytes
    search_stores.index_all()
    page = search_stores.search("x", limit=1000)
    assert 8_000_000 <= len(page.items) < 10_000_000
    assert page.next_cursor is not None


def test_one_message_with_every_part_everywhere_is_answered_without_emphasis(
    any_backend: SearchStores,
) -> None:
    any_backend.add("a" * 65_536)
    any_backend.index_all()
    keyword = " ".join("a" * i for i in range(1, 22))
    (item,) = items(any_backend.search(keyword, highlight=True))
    assert item["highlight"] == "a" * 65_536


def test_items_have_the_shape_of_messages_and_a_highlight_when_asked(
    any_backend: SearchStores,
) -> None:
    any_backend.add("<b>Rails & Café</b>")
    any_backend.index_all()
    (item,) = items(any_backend.search("ails cafe"))
    assert list(item) == ["number", "body", "created_at", "updated_at"]
    assert item["created_at"].endswith("Z")
    assert len(item["created_at"]) == len("2022-08-09T22:17:52.599Z")
    (item,) = items(any_backend.search("ails cafe", highlight=True))
    assert list(item)[-1] == "highlight"
    assert item["highlight"] == "&lt;b&gt;R<em>ails</em> &amp; <em>Café</em>&lt;/b&gt;"


def test_an_updated_message_is_found_by_its_new_text_alone(any_backend: SearchStores) -> None:
    any_backend.add("before", "other")
    any_backend.index_all()
    any_backend.update(1, "afterwards")
    any_backend.index_all()
    assert any_backend.find("before") == []
    assert any_backend.find("fterward") == [1]


def test_an_old_message_of_a_long_chat_is_found_by_its_new_text(any_backend: SearchStores) -> None:
    any_backend.add(*["filler"] * 1800)
    any_backend.index_all()
    any_backend.update(5, "unique needle")
    any_backend.index_all()
    assert any_backend.find("eedl") == [5]
    assert any_backend.find("d") == [5]


def test_a_deleted_message_is_not_found(any_backend: SearchStores) -> None:
    any_backend.add("gone soon", "stays")
    any_backend.index_all()
    any_backend.database.execute("DELETE FROM messages WHERE number = 1")
    any_backend.index_all()
    assert any_backend.find("s") == [2]
    assert any_backend.count("search_texts") == 1


def test_a_page_whose_messages_have_all_been_deleted_is_followed_by_the_next(
    search_stores: SearchStores,
) -> None:
    search_stores.add("hi", "hi", "hi")
    search_stores.index()
    search_stores.database.execute(
        "UPDATE messages SET body = '', deleted_at = now() WHERE number > 1"
    )
    page = search_stores.search("hi", limit=2)
    assert items(page) == []
    assert search_stores.find("hi", cursor=page.next_cursor) == [1]


def test_the_backend_is_named(any_backend: SearchStores, backend: str) -> None:
    any_backend.add("hello")
    any_backend.index_all()
    assert any_backend.search("hello").backend == backend


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "AAIAAAAAAAGGkm8gj4VgA1sa", "é", "=" * 24])
def test_a_forged_cursor_is_refused(any_backend: SearchStores, cursor: str) -> None:
    any_backend.add("hello")
    any_backend.index_all()
    with pytest.raises(ValidationFailed) as problem:
        any_backend.search("hello", cursor=cursor)
    assert problem.value.errors[0]["field"] == "cursor"


def test_a_cursor_belongs_to_one_keyword_order_and_chat(any_backend: SearchStores) -> None:
    any_backend.add("hello", "hello", chat=1)
    any_backend.add("hello", "hello", chat=2)
    any_backend.index_all()
    cursor = any_backend.search("hello", limit=1).next_cursor
    assert any_backend.find("HELLO", cursor=cursor) == [1]
    for keyword, chat, sort in [
        ("ello", 1, "relevance"),
        ("hello", 2, "relevance"),
        ("hello", 1, "number"),
    ]:
        with pytest.raises(ValidationFailed):
            any_backend.search(keyword, chat, sort=sort, cursor=cursor)


def test_a_chat_that_is_not_there_is_not_found(any_backend: SearchStores) -> None:
    with pytest.raises(NotFound):
        any_backend.search("hello", chat=9)


def test_both_backends_continue_each_others_pages(
    search_stores: SearchStores, elasticsearch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    texts = bodies(1700, seed=5)
    search_stores.add(*texts)
    search_stores.index_all()
    found, cursor, backends = [], None, set()
    url = settings.ELASTICSEARCH_URL
    for turn in range(100):
        monkeypatch.setattr(settings, "ELASTICSEARCH_URL", url if turn % 2 else "")
        page = search_stores.search("te", limit=50, cursor=cursor)
        found += [item["number"] for item in items(page)]
        backends.add(page.backend)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == find("te", enumerate(texts, 1))
    assert backends == {"elasticsearch", "postgresql"}


def test_without_an_answer_from_elasticsearch_postgresql_is_queried(
    search_stores: SearchStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    from crud_service.search.index.elasticsearch_index import INDEX_FORMAT, SEARCH_TIMEOUT_SECONDS

    search_stores.add("hello")
    search_stores.index_all()
    search_stores.database.execute("UPDATE search_state SET index_format = %s", (INDEX_FORMAT,))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(settings, "ELASTICSEARCH_URL", url)

        def timed_search() -> float:
            started = time.monotonic()
            assert search_stores.search("hello").backend == "postgresql"
            return time.monotonic() - started

        first = timed_search()
        again = min(timed_search() for _ in range(3))
    assert again < SEARCH_TIMEOUT_SECONDS <= first
