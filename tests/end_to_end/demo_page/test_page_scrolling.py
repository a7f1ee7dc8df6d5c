"""Long chats on the page: every message once and in order, in a document that does not grow."""

import pytest

from chat_backend_client import Client, NewMessage
from tests.api_client import Api
from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser, Window

MANY = 3_000
IN_ONE_BULK = 500
# As `MOST` in timeline.js.
MOST = 200

SCROLL_TO_BEGINNING = """(async () => {
    const [scroller, list] = ['scroller', 'messages'].map((id) => document.getElementById(id));
    const [known, first] = [new Set(), []];
    const seen = (window.seen = { first, elements: 0, messages: 0, broken: null });
    const look = () => {
        const now = [...list.children].map((item) => +item.dataset.number);
        seen.elements = Math.max(seen.elements, document.getElementsByTagName('*').length);
        seen.messages = Math.max(seen.messages, now.length);
        if (now.some((number, at) => at > 0 && number !== now[at - 1] + 1)) seen.broken = now;
        first.push(...now.reverse().filter((number) => !known.has(number)));
        first.slice(known.size).forEach((number) => known.add(number));
    };
    new MutationObserver(look).observe(list, { childList: true });
    look();
    const isDone = () => scroller.scrollTop === 0 && document.getElementById('older').hidden;
    for (const end = performance.now() + 120000; !isDone() && performance.now() < end; ) {
        scroller.scrollTop -= scroller.clientHeight * 0.9;
        await new Promise((done) => setTimeout(done, 0));
    }
    return true;
})()"""

pytestmark = pytest.mark.timeout(400)


def fill(api: Api, chat: str, count: int) -> None:
    """Create messages of one to four lines, each with its number as its first word."""
    _, _, token, _, chat_number = chat.split("/")
    with Client(api.crud, api.numbering) as client:
        filled = client.application(token).chat(int(chat_number))
        for first in range(1, count + 1, IN_ONE_BULK):
            numbers = range(first, min(first + IN_ONE_BULK, count + 1))
            # A client that waits when it is asked to: bulks may come faster than they are stored.
            filled.create_messages(
                [NewMessage(body=f"{n}" + "\nanother line" * (n % 4)) for n in numbers]
            )
    api.wait_for_numbers(f"{chat}/messages?after={count - 1}", [count], seconds=90)


def sit_down_before(browser: Browser, chat: Chat, api: Api, count: int) -> Window:
    """Open a chat that has so many messages, and wait until the last one is shown."""
    fill(api, chat.path, count)
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.numbers()[-1:], [count])
    return ann


def scroll_to_beginning(window: Window) -> None:
    """Scroll up as a person does, a screen at a time, until there is nothing older.

    `window.seen` then has the numbers in the order in which they came into the document, and the
    most elements and messages that were in it at a time.
    """
    window.evaluate(SCROLL_TO_BEGINNING)


def test_thousands_of_messages_are_scrolled_in_a_document_that_stays_small(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down_before(browser, chat, api, MANY)
    scroll_to_beginning(ann)
    assert ann.evaluate("window.seen.first") == list(range(MANY, 0, -1))
    assert ann.evaluate("window.seen.broken") is None
    assert ann.evaluate("window.seen.messages") <= MOST
    # Some elements for each message, and those of the page.
    assert ann.evaluate("window.seen.elements") < MOST * 10 + 200
    assert ann.numbers()[0] == 1
    ann.click("#newest")
    ann.until(lambda: ann.numbers()[-1:], [MANY])
    assert ann.count("#newest:visible") == 0


def test_an_older_page_moves_nothing_that_is_read(browser: Browser, chat: Chat, api: Api) -> None:
    fill(api, chat.path, 120)
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.numbers(), list(range(71, 121)))
    place = "document.querySelector('[data-number=\"80\"]').getBoundingClientRect().top"
    before = ann.evaluate(f"(document.getElementById('scroller').scrollTop = 500, {place})")
    ann.until(lambda: ann.numbers()[0], 21)
    assert abs(ann.evaluate(place) - before) < 2


def test_what_is_read_stays_in_its_place_while_messages_come(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down_before(browser, chat, api, 150)
    scroll_to_beginning(ann)
    assert ann.numbers() == list(range(1, 151))
    place = "document.querySelector('[data-number=\"101\"]').getBoundingClientRect().top"
    ann.call('[data-number="101"]', "scrollIntoViewIfNeeded")
    before = ann.evaluate(place)
    for number in range(151, 251):
        api.message(chat.path, f"{number}")
    ann.until(lambda: ann.count("#newest:visible"), 1)
    assert abs(ann.evaluate(place) - before) < 2
    ann.click("#newest")
    ann.until(lambda: ann.numbers()[-1:], [250])
    api.message(chat.path, "live again")
    ann.until(lambda: ann.numbers()[-1:], [251])
    assert "live again" in ann.bodies()[-1]


def test_scrolling_back_down_loads_what_was_dropped(browser: Browser, chat: Chat, api: Api) -> None:
    ann = sit_down_before(browser, chat, api, 600)
    scroll_to_beginning(ann)
    assert ann.numbers()[-1] == MOST
    ann.evaluate("""(async () => {
        const scroller = document.getElementById('scroller');
        const deadline = performance.now() + 60000;
        while (!document.getElementById('newest').hidden && performance.now() < deadline) {
            scroller.scrollTop += scroller.clientHeight;
            await new Promise((done) => setTimeout(done, 0));
        }
        return true;
    })()""")
    assert ann.numbers() == list(range(600 - MOST + 1, 601))


def hold_older_page(window: Window) -> None:
    """Scroll up, and hold the answer with the older page."""
    window.hold_answers("request.url.includes('before=') && !('go' in window)")
    window.evaluate("document.getElementById('scroller').scrollTop = 0")
    window.until_held()


def test_a_page_that_arrives_after_a_jump_leaves_no_gap(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down_before(browser, chat, api, 600)
    hold_older_page(ann)
    ann.call('#messages [tabindex="0"]', "focus")
    ann.press("Home")
    ann.until(lambda: ann.numbers()[0], 1)
    ann.evaluate("window.go()")
    ann.call("@page", "waitForTimeout", 500)
    numbers = ann.numbers()
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_change_in_one_chat_is_not_shown_in_another(
    browser: Browser, chat: Chat, api: Api
) -> None:
    """It came while an older page was read, which arrives when the other chat is open."""
    other = api.chat(chat.path.rpartition("/chats/")[0])
    fill(api, other, 1)
    ann = sit_down_before(browser, chat, api, 120)
    hold_older_page(ann)
    put = api.client.put(f"{api.crud}{chat.path}/messages/1", json={"body": "of the first chat"})
    assert put.status_code == 200
    api.message(chat.path, "behind the change")
    ann.until(lambda: ann.numbers()[-1:], [121])
    ann.click(f'#chats a[href$="/{other.rpartition("/")[2]}"]')
    ann.until(ann.numbers, [1])
    assert ann.bodies() != ["of the first chat"]


def test_a_change_made_while_its_page_is_read_is_shown(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down_before(browser, chat, api, 120)
    # The page with message 60 is read, then the message changes, then the page arrives.
    hold_older_page(ann)
    put = api.client.put(f"{api.crud}{chat.path}/messages/60", json={"body": "changed"})
    assert put.status_code == 200
    api.message(chat.path, "behind the change")
    ann.until(lambda: ann.numbers()[-1:], [121])
    ann.evaluate("window.go()")
    ann.until(lambda: ann.texts('[data-number="60"] .body'), ["changed"])
    # A new name shows all messages again.
    ann.fill("#sender", "Bea")
    ann.call("#sender", "press", "Tab")
    assert ann.texts('[data-number="60"] .body') == ["changed"]
