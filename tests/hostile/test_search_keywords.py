"""Keywords of every script and symbol are literal; invalid ones are refused."""
# ruff: noqa: RUF001 - look-alikes of other scripts are the point

import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.hostile.conftest import Ground
from tests.hostile.wire import check_problem, exchange, request
from tests.polling import eventually

# Each is the body of a message of its own, found by itself and by what stands behind it.
TEXTS = {
    "percent: 100% of a\\b_c": ["100%", "%", "\\", "b_c", "a\\b", "_"],
    "stars: * ? and 'quotes' \"double\"": ["*", "?", "'quotes'", '"double"', "* ?", '"'],
    "lucene: (a AND b) OR NOT c~2 ^4 [x TO y]": ["(a", "AND", "c~2", "^4", "[x", "TO", "NOT c~2"],
    "more: +must -not !no && || field:value {}": [
        "+must",
        "-not",
        "!no",
        "&&",
        "||",
        "field:value",
    ],
    "regex: ^.*$ (?:x)+ \\d{3,} [^a]": ["^.*$", "(?:x)+", "\\d{3,}", "[^a]", ".*"],
    "sql: '; DROP TABLE messages; --": ["';", "DROP TABLE", "--", "';  --"],
    "html: <script>alert(1)</script> &amp;": ["<script>", "&amp;", "</script>", "alert(1)"],
    'json: {"a":[1,2]} \\u0041 \\n': ['{"a":[1,2]}', "\\u0041", "\\n"],
    "template: {{7*7}} ${jndi:ldap} %s %(x)s": ["{{7*7}}", "${jndi", "%s", "%(x)s"],
    "路径: 你好,世界。你好吗": ["你好", "世界", "好", "。"],
    "かな: ラーメンを食べました": ["ラーメン", "食べ", "ました"],
    "한글: 안녕하세요 세계": ["안녕", "하세요", "세계"],
    "عربي: مرحبًا بالعالم": ["مرحبا", "عالم", "بالعالم"],
    "עברית: שָׁלוֹם עולם": ["שלום", "עולם"],
    "русский: Ёлка и Подъезд": ["елка", "ПОДЪЕЗД", "подъ"],
    "ελληνικά: Καλημέρα κόσμε": ["καλημερα", "ΚΟΣΜΕ"],
    "हिन्दी: नमस्ते दुनिया": ["नमस्ते", "दुनिया"],
    "ไทย: สวัสดีชาวโลก": ["สวัสดี", "ชาวโลก"],
    "emoji: 👩‍👩‍👧 🏳️‍🌈 👍🏽 🇩🇪": ["👩‍👩‍👧", "👍🏽", "🇩🇪", "🏳️‍🌈", "👍"],
    "latin: Café STRASSE straße niño ﬁne Ａｂｃ": [
        "cafe",
        "STRASSE",
        "nino",
        "fine",
        "abc",
        "cafe\u0301",
    ],
    "turkish: İstanbul ılık": ["istanbul", "ilik"],
    "beyond: 𝒳𝟙 𓀀 \U0010ffff": ["𓀀", "\U0010ffff", "x1"],
    "invisible: a\u202eb \u200bzero \ufeffmark co\u00adop": [
        *("a\u202eb", "ab", "zero", "\u200bzero", "\ufeffmark", "mark", "coop", "\u200b mark"),
    ],
    "controls: a\x01b \x7f": ["a\x01b", "a\x01", "\x01b"],
    "korean: 웃겨 ㅋㅋㅠㅠ 요ㄳ": ["ㅠㅠ", "ㅋㅋ", "ㅋㅠ", "요", "ㄳ", "겨 ㅋ"],
    "typographic: it’s e\u2011mail ‘n’": ["it's", "it’s", "e-mail", "'n'", "t\u201bs"],
    "decomposed: か\u3099 \u1112\u1161\u11ab ｶﾞ cafe\u0301": [
        *("か", "が", "한", "\u1112\u1161", "ガ", "ｶ", "\u0301"),
    ],
    "url: https://example.com/a?b=c&d=e#f user@example.com": ["example.com", "?b=c&d=e#f", "user@"],
}
PAIRS = [(body, keyword) for body, keywords in TEXTS.items() for keyword in [*keywords, body]]
PLAIN = str.maketrans("‘’\u2011", "''-")
WHITE_SPACE = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"

INVISIBLE = "\x01\x7f\u00ad\u200b\u200d\u202e\ufe0f\ufeff\u2800\u3164\U000e0041"


@pytest.fixture(scope="module")
def library(stack: RunningStack) -> Iterator[tuple[Api, str, dict[str, int]]]:
    """A chat that contains every text, and the number of each."""
    with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
        api = Api(client, stack.crud_url, stack.numbering_url)
        chat = api.chat(api.application())
        numbers = {body: api.message(chat, body) for body in TEXTS}
        last = quote(list(TEXTS)[-1][:20])
        path = f"{chat}/messages/search?keyword={last}"
        assert eventually(lambda: api.numbers(path), bool, 30)
        yield api, chat, numbers


@pytest.mark.parametrize(("body", "keyword"), PAIRS, ids=range(len(PAIRS)))
def test_every_symbol_is_literal(
    library: tuple[Api, str, dict[str, int]], body: str, keyword: str
) -> None:
    api, chat, numbers = library
    found = api.get(f"{chat}/messages/search?keyword={quote(keyword)}&highlight=true")
    assert numbers[body] in [item["number"] for item in found]
    for item in found:
        assert item["body"] in TEXTS
        assert "<script" not in item["highlight"]
        assert "<em></em>" not in item["highlight"]


@pytest.mark.parametrize("keyword", list("*?%_\\\"'()[]{}^$.|+-~!&/:;<>=@#,`"), ids=ord)
def test_a_symbol_alone_finds_what_contains_it_and_nothing_else(
    library: tuple[Api, str, dict[str, int]], keyword: str
) -> None:
    api, chat, numbers = library
    found = api.get(f"{chat}/messages/search?keyword={quote(keyword)}&limit=1000")
    holding = {number for body, number in numbers.items() if keyword in body}
    assert {item["number"] for item in found} == holding | {
        number for body, number in numbers.items() if keyword in body.translate(PLAIN)
    }


def search(ground: Ground, query: str) -> tuple[int, bytes]:
    reply = exchange(ground.crud, request("GET", f"{ground.chat}/messages/search?{query}"))
    if reply.status != 200:
        check_problem(reply, 400, 422)
    return reply.status, reply.body


@pytest.mark.parametrize(
    "blank", ["", *WHITE_SPACE, WHITE_SPACE * 5, *INVISIBLE, INVISIBLE + WHITE_SPACE], ids=ascii
)
def test_a_blank_keyword_is_422(ground: Ground, blank: str) -> None:
    assert search(ground, f"keyword={quote(blank)}")[0] == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("Keyword=x", 422),
        ("keyword[]=x", 422),
        ("keyword=%00", 422),
        ("keyword=a%00b", 422),
        ("keyword=%FF", 400),
        ("keyword=%ED%A0%80", 400),
        ("keyword=" + "a" * 256, 200),
        ("keyword=" + "a" * 257, 422),
        ("keyword=" + quote("🙂" * 256), 200),
        ("keyword=" + quote("🙂" * 257), 422),
        ("keyword=" + "+".join("a" * 1 for _ in range(128)), 200),
        ("keyword=" + quote(" ".join(chr(0x4E00 + n) for n in range(128))), 200),
        ("keyword=" + quote("\ufdfa" * 256), 200),
        ("keyword=" + quote("a" + "\u0301" * 255), 200),
        ("keyword=x&keyword=", 422),
    ],
    ids=lambda it: str(it)[:24],
)
def test_a_keyword_has_1_to_256_characters(ground: Ground, query: str, status: int) -> None:
    started = time.monotonic()
    assert search(ground, query)[0] == status
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "value",
    [
        *("limit=0", "limit=-1", "limit=1001", "limit=1e2", "limit=+5", "limit=05", "limit=1.0"),
        *("limit=", "limit=%D9%A5", "limit=99999999999999999999", "limit=null", "limit=1%00"),
        *(
            "sort=",
            "sort=Number",
            "sort=number%20desc",
            "sort=body",
            "sort=number%00",
            "sort=--number",
        ),
        *("highlight=1", "highlight=yes", "highlight=", "highlight=True", "cursor=", "cursor=AAAA"),
        *(
            "cursor=" + "A" * 10_000,
            "cursor=%F0%9F%99%82",
            "cursor=..%2F",
            "cursor=AAAAAAAAAAAAAAAAAAAAAAAA",
        ),
    ],
    ids=lambda it: it[:24],
)
def test_a_junk_parameter_of_a_search_is_422(ground: Ground, value: str) -> None:
    assert search(ground, f"keyword=x&{value}")[0] == 422


@pytest.mark.parametrize("of", ["applications", "chats", "messages"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            "limit=0",
            "limit=-1",
            "limit=1001",
            "limit=1e2",
            "limit=%2B5",
            "limit=05",
            "limit=",
            "limit=x",
        ),
        *("order=", "order=ASC", "order=desc%00", "order=1", "after=-1", "after=x", "after=1.5"),
        *(
            "before=%D9%A1",
            "after=9223372036854775808",
            "before=" + "9" * 4000,
            "after=%00",
            "after=",
        ),
    ],
    ids=lambda it: it[:24],
)
def test_a_junk_parameter_of_a_list_is_422(ground: Ground, of: str, value: str) -> None:
    path = {
        "applications": "/applications",
        "chats": f"{ground.application}/chats",
        "messages": f"{ground.chat}/messages",
    }[of]
    check_problem(exchange(ground.crud, request("GET", f"{path}?{value}")), 422)


@pytest.mark.parametrize(
    "query",
    ["", "after=0", "after=9223372036854775807", "before=1", "before=0", "after=5&before=3"],
)
def test_the_first_and_last_page_are_pages_like_others(ground: Ground, query: str) -> None:
    answer = ground.api.client.get(f"{ground.crud}{ground.chat}/messages?limit=2&{query}")
    assert answer.status_code == 200
    assert len(answer.json()) <= 2


def test_every_white_space_divides_a_keyword(library: tuple[Api, str, dict[str, int]]) -> None:
    api, chat, _ = library
    for space in WHITE_SPACE:
        keyword = quote(f"{space}world{space}".replace("world", f"DROP{space}TABLE"))
        found = api.numbers(f"{chat}/messages/search?keyword={keyword}")
        assert len(found) == 1, ascii(space)


@pytest.mark.parametrize("blank", ["\u200b", "\u3164", "\u2800", "\u00ad\ufe0f\x01 "], ids=ascii)
def test_a_body_of_invisible_characters_is_422(ground: Ground, blank: str) -> None:
    answer = ground.api.client.post(
        f"{ground.numbering}{ground.chat}/messages", json={"body": blank}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"
