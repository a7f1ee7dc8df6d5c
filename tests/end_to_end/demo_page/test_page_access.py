"""The chat page for everybody: keyboard only, screen readers, a phone, both themes."""

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser, Viewport, Window

PHONE = Viewport(360, 700)
SCREENSHOTS = ROOT / ".local-test" / "screenshots"

pytestmark = pytest.mark.timeout(300)


def screenshots(window: Window, name: str) -> None:
    """Take a picture in each theme."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        with window.theme(theme):
            path = SCREENSHOTS / f"{name}-{theme}.png"
            window.call("@page", "screenshot", {"path": str(path)})


def focused(window: Window) -> str:
    return str(window.evaluate("document.activeElement.id || document.activeElement.className"))


def tab_until(window: Window, wanted: str) -> None:
    """Press Tab until an element has the focus; fails if it cannot be reached."""
    reached = []
    for _ in range(40):
        window.press("Tab")
        reached.append(focused(window))
        if reached[-1] == wanted:
            return
    raise AssertionError(f"{wanted} is not among {reached}")


def test_the_address_of_a_local_stack_leads_to_the_page(
    demo_stack: RunningStack, client: httpx.Client
) -> None:
    answer = client.get(f"{demo_stack.crud_url}/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/demo")


def test_everything_is_done_with_the_keyboard_alone(
    browser: Browser, demo_stack: RunningStack
) -> None:
    ann = browser.window("Ann", f"{demo_stack.crud_url}/demo")
    ann.until(lambda: focused(ann), "application-name")
    ann.type("By keyboard")
    ann.press("Enter")
    ann.until_connected()
    ann.until(lambda: focused(ann), "body")
    ann.type("one")
    ann.press("Shift+Enter")
    ann.type("two")
    ann.press("Enter")
    ann.until(ann.bodies, ["one\ntwo"])
    ann.type("three")
    ann.press("Enter")
    ann.until(lambda: ann.bodies(), ["one\ntwo", "three"])
    ann.press("Shift+Tab", "Shift+Tab", "Shift+Tab")
    ann.until(lambda: ann.evaluate("document.activeElement.dataset.number"), "2")
    ann.press("ArrowUp", "Tab", "Enter")
    ann.until(lambda: ann.text("#editing-what"), "Editing message 1")
    ann.press("Escape")
    assert ann.count("#editing:visible") == 0
    tab_until(ann, "chat-name")
    ann.type("Second chat")
    ann.press("Enter")
    # It has no message yet.
    ann.until_texts("#chats b", ["General", "Second chat"])
    ann.until(lambda: ann.text("#chat-title"), "Second chat")
    ann.call("#chats a >> nth=0", "focus")
    ann.press("ArrowDown")
    assert ann.evaluate("document.activeElement.hash").endswith("/2")
    ann.press("ArrowUp", "Enter")
    ann.until(lambda: ann.text("#chat-title"), "General")


@pytest.mark.parametrize("viewport", [Viewport(1100, 760), PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_wrong(
    browser: Browser, chat: Chat, api: Api, viewport: Viewport
) -> None:
    api.message(chat.path, "first")
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=first", [1])
    page, _, _ = chat.page.partition("#")
    start = browser.window("start", page, viewport)
    start.see("#applications a >> nth=0")
    assert start.violations() == []
    screenshots(start, f"demo-start-{viewport.width}")
    options = {"viewport": viewport, "reducedMotion": "reduce"}
    ann = browser.window("Ann", chat.page, **options)
    ann.until(ann.bodies, ["first"])
    ann.send_message("second")
    ann.until(ann.bodies, ["first", "second"])
    ann.call('[data-number="2"]', "hover")
    assert ann.violations() == []
    screenshots(ann, f"demo-chat-{viewport.width}")
    ann.fill("#keyword", "first")
    ann.until_texts("#found mark", ["first"])
    assert ann.violations() == []
    ann.press("Escape")
    ann.offline(True)
    ann.send_message("third")
    ann.until(lambda: "not sent" in ann.text("#pending"), True)
    assert ann.violations() == []
    ann.offline(False)
    ann.until(ann.bodies, ["first", "second", "third"])
    ann.until_all_is_sent()
    ann.call('[data-number="2"]', "hover")
    ann.click('[data-number="2"] [data-action="delete"]')
    ann.see("#confirm")
    assert ann.violations() == []
    screenshots(ann, f"demo-confirm-{viewport.width}")
    inbox = browser.window("inbox", chat.page.rpartition("/")[0], **options)
    inbox.see("#chats a")
    assert inbox.violations() == []


def test_a_phone_shows_chats_or_messages_and_never_scrolls_sideways(
    browser: Browser, chat: Chat, api: Api
) -> None:
    api.message(chat.path, "a" * 500 + " https://example.com/" + "b" * 500)
    put = api.client.put(f"{api.crud}{chat.path}", json={"name": "N" * 255})
    assert put.status_code == 200
    ann = browser.window("Ann", chat.page, PHONE, hasTouch=True, isMobile=True)
    ann.until(lambda: len(ann.bodies()), 1)
    assert ann.count("#chats:visible") == 0
    assert is_as_wide_as_its_window(ann)
    ann.call("#back", "tap")
    ann.see("#chats a")
    assert ann.count("#body:visible") == 0
    assert is_as_wide_as_its_window(ann)
    ann.call("#chats a", "tap")
    ann.see("#body")


def test_the_state_of_the_connection_is_not_covered_on_a_narrow_phone(
    browser: Browser, chat: Chat
) -> None:
    ann = browser.window("Ann", chat.page, Viewport(320, 640))
    ann.until_connected()
    ann.until(lambda: ann.text("#chat-subtitle"), "0 messages")
    ann.offline(True)
    ann.until(lambda: ann.texts(".titles .connection"), ["Offline"])
    # The longest of its words.
    ann.evaluate("document.querySelector('.titles .connection').textContent = 'Reconnecting…'")
    right = "document.querySelector('.titles .connection').getBoundingClientRect().right"
    left = "document.getElementById('share').getBoundingClientRect().left"
    assert ann.evaluate(f"{right} <= {left}")


def is_as_wide_as_its_window(window: Window) -> bool:
    return bool(
        window.evaluate(
            "['html', '#scroller', '#chats'].every((name) => {"
            " const it = document.querySelector(name); return it.scrollWidth <= it.clientWidth; })"
        )
    )


def test_a_name_from_right_to_left_stands_before_the_time_and_the_text(
    browser: Browser, chat: Chat, api: Api
) -> None:
    name = "\u05e9\u05dc\u05d5\u05dd"
    ann = sit_down(browser, name, chat.page)
    ann.send_message("first")
    ann.until(ann.bodies, ["first"])
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=first", [1])
    ann.until_texts("#chats .last", [f"{name}: first"])
    ann.fill("#keyword", "first")
    ann.until_texts("#found mark", ["first"])
    ann.offline(True)
    ann.send_message("second")
    ann.until(lambda: "offline" in ann.text("#pending"), True)
    lines = ("#messages .meta", "#found .meta", "#pending .meta", "#chats .last")
    assert [line for line in lines if not begins_with_its_name(ann, line)] == []


def begins_with_its_name(window: Window, line: str) -> bool:
    """Whether the first child of a line is left of its last one."""
    return bool(
        window.evaluate(
            f"(() => {{ const {{ childNodes }} = document.querySelector('{line}');"
            " const [name, rest] = [childNodes[0], childNodes[childNodes.length - 1]].map((it) => {"
            " const range = document.createRange(); range.selectNodeContents(it);"
            " return range.getBoundingClientRect(); }); return name.right <= rest.left; })()"
        )
    )


def test_a_screen_reader_hears_what_others_write(browser: Browser, chat: Chat, api: Api) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.send_message("mine")
    ann.until(ann.bodies, ["mine"])
    assert ann.call("#announcer", "textContent") == ""
    answer = api.client.post(
        f"{api.numbering}{chat.path}/messages", json={"body": "hello", "sender": "Ben"}
    )
    assert answer.status_code == 201
    ann.until(lambda: ann.call("#announcer", "textContent"), "Ben: hello")
    assert ann.call("#announcer", "getAttribute", "aria-live") == "polite"


def test_the_inbox_shows_what_happens_in_other_chats(
    browser: Browser, chat: Chat, api: Api
) -> None:
    application = chat.path.rpartition("/chats/")[0]
    other = api.chat(application)
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.count("#chats a"), 2)
    api.message(other, "over here")
    ann.until(lambda: ann.texts("#chats .last")[:1], ["over here"])
    assert ann.texts("#chats b") == ["Chat 2", "Chat 1"]
    assert ann.texts("#chats .unread") == ["1"]
    ann.click("#chats a >> nth=0")
    ann.until(ann.bodies, ["over here"])
    ann.until(lambda: ann.count("#chats .unread"), 0)


def test_a_chat_that_appears_with_messages_is_unread(
    browser: Browser, chat: Chat, api: Api
) -> None:
    application = chat.path.rpartition("/chats/")[0]
    # The list begins with 50 of these.
    others = [api.chat(application) for _ in range(51)]
    for other in others:
        api.message(other, "earlier")
    api.wait_for_numbers(f"{others[-1]}/messages", [1])
    ann = browser.window("Ann", chat.page.rpartition("/")[0])
    ann.until_connected()
    ann.until(lambda: ann.count("#chats a"), 50)
    ann.offline(True)
    ann.until(ann.state, "offline")
    new = api.chat(application)
    for body in ("one", "two"):
        api.message(new, body)
    api.message(others[0], "later")
    api.wait_for_numbers(f"{others[0]}/messages", [1, 2])
    ann.offline(False)
    ann.until(lambda: ann.texts("#chats .last")[:3], ["later", "two", "earlier"])
    assert ann.texts("#chats .unread") == ["1", "2"]
    ann.click("#more-chats")
    ann.until(lambda: ann.count("#chats a"), 53)
    assert ann.texts("#chats .unread") == ["1", "2"]


def test_a_late_answer_to_a_chat_that_was_left_does_not_end_the_loading_of_the_next(
    browser: Browser, chat: Chat, api: Api
) -> None:
    api.chat(chat.path.rpartition("/chats/")[0])
    page = chat.page.rpartition("/")[0]
    ann = browser.window("Ann", page)
    ann.until(lambda: ann.count("#chats a"), 2)
    ann.hold_answers("request.url.includes('/messages?')")
    ann.evaluate(f"void (location = '{page}/1')")
    ann.until_held()
    ann.evaluate("void (window.first = window.go, delete window.go)")
    ann.evaluate(f"void (location = '{page}/2')")
    ann.until_held()
    ann.evaluate("window.first()")
    ann.call("@page", "waitForTimeout", 500)
    assert ann.count("#scroller[aria-busy]") == 1
    ann.evaluate("window.go()")
    ann.until(lambda: ann.count("#scroller[aria-busy]"), 0)


def test_an_error_of_an_application_that_was_left_is_not_told(
    browser: Browser, chat: Chat, demo_stack: RunningStack
) -> None:
    nobodys = "x" * 24
    ann = browser.window("Ann", f"{demo_stack.crud_url}/demo")
    ann.hold_answers(f"request.url.endsWith('/applications/{nobodys}')")
    ann.evaluate(f"void (location.hash = '#/{nobodys}')")
    ann.until_held()
    ann.evaluate(f"void (location = '{chat.page}')")
    ann.see('#chat[data-state="read"]')
    ann.evaluate("window.go()")
    ann.call("@page", "waitForTimeout", 500)
    assert ann.count("#banner:visible") == 0


def test_a_link_opens_the_same_chat_in_a_second_window(
    browser: Browser, demo_stack: RunningStack
) -> None:
    ann = browser.window("Ann", f"{demo_stack.crud_url}/demo")
    ann.fill("#application-name", "Shared")
    ann.press("Enter")
    ann.until_connected()
    ann.send_message("by link")
    ann.until(ann.bodies, ["by link"])
    ann.click("#share")
    ann.until(lambda: ann.text("#banner").startswith("Copied."), True)
    link = ann.evaluate("navigator.clipboard.readText()")
    ben = browser.window("Ben", link)
    ben.until(ben.bodies, ["by link"])
    assert ben.text("#application-title") == "Shared"
    ben.until(lambda: ben.text("#chat-title"), "General")


def test_a_copied_link_is_told_until_something_else_is(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.call("@clock", "install")
    ann.click("#share")
    ann.until(lambda: ann.text("#banner").startswith("Copied."), True)
    ann.call("@clock", "runFor", 5_000)
    ann.evaluate("document.getElementById('banner').textContent = ''")
    ann.click("#share")
    ann.until(lambda: ann.text("#banner").startswith("Copied."), True)
    ann.call("@clock", "runFor", 5_000)
    assert ann.text("#banner").startswith("Copied."), "it was copied again meanwhile"
    ann.call("@clock", "runFor", 4_000)
    ann.until(lambda: ann.count("#banner:visible"), 0)
    ann.click("#share")
    ann.until(lambda: ann.text("#banner").startswith("Copied."), True)
    assert api.client.delete(f"{api.crud}{chat.path}").status_code == 204
    ann.until(lambda: ann.text("#banner"), "This chat was deleted.")
    ann.call("@clock", "runFor", 9_000)
    assert ann.text("#banner") == "This chat was deleted."


def test_the_address_of_the_stack_leads_to_the_page(demo_stack: RunningStack) -> None:
    with httpx.Client(base_url=demo_stack.crud_url, timeout=60, **PLAIN_HTTP) as client:
        assert client.get("/").headers["location"] == "/demo"
        assert client.post("/").json()["code"] == "method_not_allowed"


def test_the_page_and_its_files_are_revalidated(demo_stack: RunningStack) -> None:
    with httpx.Client(base_url=demo_stack.crud_url, timeout=60, **PLAIN_HTTP) as client:
        page, script = client.get("/demo"), client.get("/static/demo/main.js")
        assert page.status_code == script.status_code == client.get("/demo/").status_code == 200
        assert script.headers["cache-control"] == "no-cache"
        assert script.headers["content-type"].startswith("text/javascript")
        policy = page.headers["content-security-policy"]
        assert demo_stack.numbering_url in policy
        assert "unsafe" not in policy
