"""Two windows of the chat page talk to each other."""

import psycopg
import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser
from tests.integration.crud_rows import add_chats, token_of

pytestmark = pytest.mark.timeout(300)


def test_two_windows_talk_to_each_other(browser: Browser, chat: Chat) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.send_message("Hello, is anybody there?")
    ben.until_texts("#messages .body", ["Hello, is anybody there?"])
    ben.send_message("Yes!\nIt works")
    ann.until_texts("#messages .body", ["Hello, is anybody there?", "Yes!\nIt works"])
    assert ann.texts("#messages .meta b") == ben.texts("#messages .meta b") == ["Ann", "Ben"]
    assert ann.texts("#messages .mine .body") == ["Hello, is anybody there?"]
    ann.until_all_is_sent()
    assert ann.errors() == ben.errors() == []


def test_an_empty_chat_says_what_to_do_until_it_has_a_message(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.until_texts(".empty:visible", [ann.call(".empty", "textContent")])
    api.message(chat.path, "sent without a sender")
    ann.until_texts("#messages .meta b", ["Anonymous"])
    assert ann.count(".empty:visible") == 0


def test_four_windows_of_one_browser_have_connections_enough(
    browser: Browser, chat: Chat, api: Api
) -> None:
    first = sit_down(browser, "Ann", chat.page)
    others = [browser.window_beside(first, name, chat.page) for name in ("Ben", "Cem", "Dora")]
    for window in others:
        window.until_connected()
    others[-1].send_message("to all of you")
    for window in (first, *others):
        window.until(window.bodies, ["to all of you"])
        window.fill("#keyword", "all")
        window.until_texts("#found mark", ["all"])
    streams = [each for window in (first, *others) for each in window.requests()]
    assert sum(each["url"].endswith("/stream") for each in streams) == 1 + 4


def test_the_inbox_shows_more_than_a_thousand_chats(
    browser: Browser, demo_stack: RunningStack, api: Api
) -> None:
    application = api.application("Many chats")
    with psycopg.connect(demo_stack.environment["DATABASE_URL"]) as database:
        add_chats(database, application, 1010)
    ann = browser.window("Ann", f"{demo_stack.crud_url}/demo#/{token_of(application)}")
    for shown in (*range(50, 1001, 50), 1010):
        ann.until(lambda: ann.count("#chats a"), shown)
        if shown < 1010:
            ann.click("#more-chats")
    assert ann.count("#more-chats:visible") == 0


def test_the_inbox_goes_on_when_the_window_that_followed_is_closed(
    browser: Browser, chat: Chat, api: Api
) -> None:
    first = sit_down(browser, "Ann", chat.page)
    second = browser.window_beside(first, "Ben", chat.page)
    second.until_connected()
    first.close()
    other = api.chat(chat.path.rpartition("/chats/")[0])
    api.message(other, "is anybody left?")
    second.until(lambda: second.texts("#chats .last")[:1], ["is anybody left?"])
    second.until_connected()
