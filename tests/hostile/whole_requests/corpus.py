"""Requests that are easily read in two ways, aimed at a running stack, and what is right."""

import json
from typing import NamedTuple

# Replaced by an id of the same length, one for each time that a request is sent.
REQUEST_ID = b"REQUEST-ID"
UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
ID = f"X-Request-ID: {REQUEST_ID.decode()}\r\n"


class Shot(NamedTuple):
    """Bytes for a connection, and what comes of them."""

    raw: bytes
    statuses: tuple[int, ...]
    stored: tuple[str, ...] = ()  # the text of each message that it creates or edits
    is_open: bool = True  # for another request behind
    passes_proxies: bool = True  # or may be refused by one
    is_head: bool = False


def ask(line: str, headers: str = "", body: str | bytes = b"", version: str = "1.1") -> bytes:
    """A request with its length."""
    raw = body if isinstance(body, bytes) else body.encode()
    length = "" if CHUNKED in headers else f"Content-Length: {len(raw)}\r\n"
    head = f"{line} HTTP/{version}\r\nHost: x\r\n{ID}{headers}{length}\r\n"
    return head.encode() + raw


def say(text: str) -> str:
    return json.dumps({"body": text})


def in_chunks(body: str, extension: str = "", trailers: str = "") -> str:
    raw, cut = body.encode(), len(body) // 2
    first, second = raw[:cut].decode(), raw[cut:].decode()
    chunks = "".join(f"{len(it):x}{extension}\r\n{it}\r\n" for it in (first, second))
    return f"{chunks}0\r\n{trailers}\r\n"


def creations(chat: str) -> dict[str, Shot]:
    """Shots at numbering_service, which store messages in a chat."""
    post = f"POST {chat}/messages"
    inner = f"{post}?body=stolen HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    invoice = "Hello,\r\nUpgrade: your plan"
    part = f'--b\r\nContent-Disposition: form-data; name="body"\r\n\r\n{inner}\r\n--b--\r\n'
    multipart = "Content-Type: multipart/form-data; boundary=b\r\n"
    plain = ask(post, "", say("x"))
    return {
        "plain": Shot(plain, (201,), ("x",)),
        "a request in the body": Shot(ask(post, multipart, part), (201,), (inner,)),
        "a request in the body of an upgrade": Shot(
            ask(post, UPGRADE + multipart, part), (201,), (inner,)
        ),
        "a request in the body that is no body": Shot(ask(post, UPGRADE, inner), (400,)),
        "a line of a form that is a header": Shot(
            ask(post, FORM, f"body={invoice}"), (201,), (invoice,)
        ),
        "chunks of an upgrade": Shot(
            ask(post, UPGRADE + CHUNKED, in_chunks(say(inner))), (201,), (inner,)
        ),
        "trailers": Shot(
            ask(
                post, CHUNKED, in_chunks(say("t"), ";a=b", "Content-Length: 3\r\nUpgrade: h2c\r\n")
            ),
            (201,),
            ("t",),
        ),
        "raw UTF-8 in the query": Shot(ask(f"{post}?body=東京+é"), (201,), ("東京 é",)),
        "the second upgrades": Shot(
            ask(post, "", say("first")) + ask(post, UPGRADE, say("second")),
            (201, 201),
            ("first", "second"),
        ),
        "an old version": Shot(ask(post, "", say("old"), "1.0"), (201,), ("old",), is_open=False),
        "an expectation": Shot(ask(post, "Expect: 100-continue\r\n", say("e")), (201,), ("e",)),
        "HEAD": Shot(ask("HEAD /health/live"), (200,), is_head=True),
        "HEAD of a creation": Shot(ask(f"HEAD {chat}/messages"), (405,), is_head=True),
        "another method": Shot(ask(f"BREW {chat}/messages", "", "x"), (405,), passes_proxies=False),
        "two lengths": refused(ask(post, "Content-Length: 3\r\n", inner)),
        "length and chunks": refused(
            plain.replace(ID.encode(), ID.encode() + CHUNKED.encode()) + b"0\r\n\r\n"
        ),
        "no host": refused(plain.replace(b"Host: x\r\n", b"")),
        "two hosts": refused(plain.replace(b"Host: x\r\n", b"Host: x\r\nHost: y\r\n")),
        "a folded header": refused(ask(post, "X-A: b\r\n  c\r\n", inner)),
        "no size of a chunk": refused(ask(post, CHUNKED, "\r\n" + inner)),
    }


def reads_and_edits(chat: str) -> dict[str, Shot]:
    """Shots at crud_service: at a chat of a few messages, the first of which is edited."""
    messages, first = f"{chat}/messages", f"{chat}/messages/1"
    inner = f"PUT {first}?body=stolen HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    return {
        "a message": Shot(ask(f"GET {first}"), (200,)),
        "HEAD": Shot(ask(f"HEAD {first}"), (200,), is_head=True),
        "HEAD of a list": Shot(ask(f"HEAD {messages}"), (200,), is_head=True),
        "a list": Shot(ask(f"GET {messages}"), (200,)),
        "a list for an old version": Shot(
            ask(f"GET {messages}", version="1.0"), (200,), is_open=False
        ),
        "raw UTF-8 in the path": Shot(ask(f"GET {chat}/東京"), (404,)),
        "raw UTF-8 in the query": Shot(ask(f"GET {messages}/search?keyword=東京"), (200,)),
        "an edit of an upgrade": Shot(ask(f"PUT {first}", UPGRADE, say(inner)), (200,), (inner,)),
        "an edit in chunks": Shot(
            ask(f"PUT {first}", CHUNKED, in_chunks(say("c"), ";a", "X-A: b\r\n")), (200,), ("c",)
        ),
        "a line of a form that is a header": Shot(
            ask(f"PUT {first}", FORM, "body=Hello,\r\nUpgrade: your plan"),
            (200,),
            ("Hello,\r\nUpgrade: your plan",),
        ),
        "an edit of an upgrade, then a read": Shot(
            ask(f"PUT {first}", UPGRADE, say("edited")) + ask(f"GET {first}"),
            (200, 200),
            ("edited",),
        ),
        "a body that nobody wants": Shot(ask(f"GET {first}", UPGRADE, inner), (200,)),
        "another method": Shot(ask(f"BREW {first}", "", "x"), (405,), passes_proxies=False),
        "two lengths": refused(ask(f"PUT {first}", "Content-Length: 3\r\n", inner)),
        "no size of a chunk": refused(ask(f"PUT {first}", CHUNKED, "\r\n" + inner)),
    }


def refused(raw: bytes) -> Shot:
    return Shot(raw, (400,), is_open=False, passes_proxies=False)
