"""The chat page without a network, and with services that restart or refuse."""

from collections.abc import Iterator

import httpx
import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.conftest import SESSION
from tests.end_to_end.demo_page.conftest import Chat, page_of, sit_down
from tests.end_to_end.demo_page.windows import Browser

ADMIN_TOKEN = "a-token-of-the-tests"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def strict_stack() -> Iterator[RunningStack]:
    """A stack that asks for a token before it creates applications, and accepts few creations."""
    limits = {"ADMIN_TOKEN": ADMIN_TOKEN, "RATE_LIMIT": "1", "RATE_BURST": "2"}
    environment = {"WITHOUT_ELASTICSEARCH": "1", **limits}
    with RunningStack(SESSION / "strict", environment=environment) as running:
        yield running


def test_what_is_written_offline_is_sent_once_when_the_network_is_back(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.offline(True)
    ann.until(ann.state, "offline")
    assert ann.text("#connection") == "Offline"
    ann.send_message("written offline")
    ann.until(lambda: "not sent" in ann.text("#pending"), True)
    ben.send_message("meanwhile")
    ben.until(ben.bodies, ["meanwhile"])
    assert ann.bodies() == []
    ann.offline(False)
    ann.until_connected()
    ben.until(ben.bodies, ["meanwhile", "written offline"])
    ann.until(ann.bodies, ["meanwhile", "written offline"])
    ann.until_all_is_sent()
    assert api.numbers(f"{chat.path}/messages") == [1, 2]


def test_a_message_whose_answer_was_lost_is_created_once(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    # The first answer is dropped behind the service, as a network does it.
    ann.evaluate(
        "(() => { const real = fetch; let lost = false; window.fetch = async (request) => {"
        " const answer = await real(request);"
        " if (request.method === 'POST' && !lost) { lost = true; throw new TypeError('lost'); }"
        " return answer; }; })()"
    )
    ann.send_message("only once")
    ann.until(ann.bodies, ["only once"])
    ann.until_all_is_sent()
    posts = ann.posts()
    assert len(posts) == 2
    assert len({each["headers"]["idempotency-key"] for each in posts}) == 1
    assert api.numbers(f"{chat.path}/messages") == [1]


def test_a_reload_repeats_what_was_not_answered_under_its_key(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    # The service gets the request, and the page no answer.
    ann.evaluate(
        "(() => { const real = fetch; window.fetch = async (request) => {"
        " const answer = await real(request);"
        " return request.method === 'POST' ? new Promise(() => {}) : answer; }; })()"
    )
    ann.send_message("only once")
    ann.until(ann.bodies, ["only once"])
    assert ann.count("#pending li") == 1
    ann.call("@page", "reload")
    ann.until_connected()
    ann.until_all_is_sent()
    posts = ann.posts()
    assert len({each["headers"]["idempotency-key"] for each in posts}) == 1
    assert len(posts) == 2
    assert ann.bodies() == ["only once"]
    assert api.numbers(f"{chat.path}/messages") == [1]


def test_what_is_written_in_a_chat_that_was_opened_again_survives_a_late_answer(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    # The first answer comes when it is released, and to the others there is none.
    ann.evaluate(
        "(() => { const real = fetch; let posts = 0; window.fetch = async (request) => {"
        " if (request.method !== 'POST') return real(request);"
        " if ((posts += 1) > 1) return new Promise(() => {});"
        " const answer = await real(request);"
        " await new Promise((release) => { window.release = release; });"
        " return answer; }; })()"
    )
    ann.send_message("first")
    ann.until(ann.bodies, ["first"])
    address = str(ann.evaluate("location.hash"))
    for opened in (address.rpartition("/")[0], address):
        ann.evaluate(f"void (location.hash = '{opened}')")
    ann.until(ann.bodies, ["first"])
    ann.send_message("second")
    ann.until(lambda: ann.texts("#pending .body"), ["first", "second"])
    ann.evaluate("void release()")
    ann.until(lambda: ann.evaluate("JSON.stringify(sessionStorage).includes('first')"), False)
    ann.call("@page", "reload")
    ann.until(ann.bodies, ["first", "second"])
    assert api.numbers(f"{chat.path}/messages") == [1, 2]


def test_a_message_that_finds_no_room_in_the_storage_is_shown_and_sent(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.evaluate(
        "(() => { for (let size = 2 ** 23; size >= 1; size /= 2)"
        " try { sessionStorage.setItem(`full/${size}`, 'x'.repeat(size)); } catch {} })()"
    )
    ann.offline(True)
    ann.until(ann.state, "offline")
    ann.send_message("no room")
    ann.until(lambda: "not sent" in ann.text("#pending"), True)
    ann.offline(False)
    ann.until(ann.bodies, ["no room"])
    ann.until_all_is_sent()
    assert api.numbers(f"{chat.path}/messages") == [1]


def test_a_message_that_could_not_be_sent_is_sent_again_on_request(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.evaluate(
        "(() => { const real = fetch; window.fetch = (request) => request.method === 'POST'"
        " && window.isAway ? Promise.reject(new TypeError('away')) : real(request);"
        " window.isAway = true; })()"
    )
    ann.call("@clock", "install")
    ann.send_message("patience")
    # The client tries for half a minute by itself, and the page again ten seconds later.
    ann.call("@clock", "runFor", 31_000)
    assert "not sent: The service cannot be reached." in ann.text("#pending")
    assert ann.bodies() == []
    ann.evaluate("window.isAway = false")
    ann.click('#pending [data-action="retry"]')
    ann.until(ann.bodies, ["patience"])
    ann.until_all_is_sent()
    assert api.numbers(f"{chat.path}/messages") == [1]


def test_a_chat_that_is_opened_in_an_outage_is_shown_after_it(
    browser: Browser, chat: Chat, api: Api
) -> None:
    other = api.chat(chat.path.rpartition("/chats/")[0])
    api.message(other, "in the other chat")
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.count("#chats a"), 2)
    ann.evaluate(
        "(() => { const real = fetch; window.fetch = (request) => window.isAway"
        " ? Promise.reject(new TypeError('away')) : real(request); window.isAway = true; })()"
    )
    ann.call("@clock", "install")
    ann.click("#chats a:not([aria-current])")
    # The client tries for half a minute by itself, and the page again ten seconds later.
    ann.call("@clock", "runFor", 31_000)
    ann.until(lambda: ann.text("#banner"), "The service cannot be reached.")
    assert ann.bodies() == []
    ann.evaluate("window.isAway = false")
    ann.call("@clock", "runFor", 11_000)
    ann.until(ann.bodies, ["in the other chat"])
    ann.until(lambda: ann.count("#banner:visible"), 0)
    ann.send_message("after the outage")
    ann.until_all_is_sent()


def test_restarts_of_both_services_lose_and_repeat_nothing(
    browser: Browser, chat: Chat, api: Api, demo_stack: RunningStack
) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.send_message("before")
    ben.until(ben.bodies, ["before"])
    demo_stack.kill("crud")
    ann.send_message("while crud restarts")
    ben.until(ben.bodies, ["before", "while crud restarts"])
    demo_stack.kill("numbering")
    ann.send_message("while numbering restarts")
    everything = ["before", "while crud restarts", "while numbering restarts"]
    ben.until(ben.bodies, everything)
    ann.until(ann.bodies, everything)
    ann.until_connected()
    ann.until_all_is_sent()
    assert api.numbers(f"{chat.path}/messages") == [1, 2, 3]


# The page's clock runs faster, as the client waits for half a minute.
SIGN_IN_INSTEAD_OF_STREAMS = """(() => {
  const [real, now] = [fetch, performance.now.bind(performance)];
  performance.now = () => now() * 20;
  window.isSignedIn = false;
  window.fetch = async (request, options) =>
    window.isSignedIn || !request.url.includes("/stream")
      ? real(request, options)
      : new Response("<h1>Sign in</h1>", { headers: { "Content-Type": "text/html" } });
})()"""


def test_streams_go_on_after_a_network_answered_with_its_sign_in_page(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.evaluate(SIGN_IN_INSTEAD_OF_STREAMS)
    ann.offline(True)
    ann.until(ann.state, "offline")
    ann.offline(False)
    ann.until(lambda: ann.text("#banner"), "The service cannot be reached.")
    ann.evaluate("window.isSignedIn = true; dispatchEvent(new Event('online'))")
    ann.until_connected()
    api.message(chat.path, "meanwhile")
    ann.until(ann.bodies, ["meanwhile"])


def test_a_stack_with_an_admin_token_asks_for_it(
    browser: Browser, strict_stack: RunningStack
) -> None:
    ann = browser.window("Ann", f"{strict_stack.crud_url}/demo")
    ann.see("#admin")
    ann.fill("#admin-token", ADMIN_TOKEN)
    ann.press("Enter")
    ann.until(lambda: ann.count("#admin:visible"), 0)
    ann.fill("#application-name", "Guarded")
    ann.press("Enter")
    ann.until_connected()
    assert ann.text("#application-title") == "Guarded"


def test_a_limit_is_told_in_words_and_waited_for(
    browser: Browser, strict_stack: RunningStack, client: httpx.Client
) -> None:
    client.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    api = Api(client, strict_stack.crud_url, strict_stack.numbering_url)
    path = api.chat(api.application())
    ann = sit_down(browser, "Ann", page_of(strict_stack, path))
    for number in range(1, 6):
        ann.send_message(f"message {number}")
    ann.until(
        lambda: "sends faster than its limit allows. Trying again in" in ann.text("#banner"), True
    )
    ann.until(ann.bodies, [f"message {number}" for number in range(1, 6)])
    ann.until(lambda: ann.count("#banner:visible"), 0)


def test_a_text_that_is_refused_comes_back_with_the_reason(browser: Browser, chat: Chat) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.send_message("x" * 65_537)
    ann.until(lambda: "not sent: body:" in ann.text("#pending .meta"), True)
    ann.send_message("the next one is sent")
    ann.until(ann.bodies, ["the next one is sent"])
    ann.fill("#body", "written since")
    ann.click('#pending [data-action="take-back"]')
    assert ann.call("#body", "inputValue") == "x" * 65_537 + "\nwritten since"
    assert ann.count("#pending li") == 0


def test_a_refused_text_does_not_become_a_change_of_another_message(
    browser: Browser, chat: Chat
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.send_message("one")
    ann.until(ann.bodies, ["one"])
    ann.send_message("x" * 65_537)
    ann.see('#pending [data-action="take-back"]')
    ann.call("#messages li", "hover")
    ann.click('#messages [data-action="edit"]')
    ann.until(lambda: ann.text("#send"), "Save")
    ann.click('#pending [data-action="take-back"]')
    assert ann.text("#send") == "Send"
    assert ann.call("#body", "inputValue") == "x" * 65_537


def test_an_application_that_does_not_exist_is_told_in_words(
    browser: Browser, demo_stack: RunningStack
) -> None:
    window = browser.window("Ann", f"{demo_stack.crud_url}/demo#/{'A' * 24}/1")
    told = "There is no such chat. It was deleted, or the link is not complete."
    window.until(lambda: window.text("#banner"), told)
    assert window.texts(".connection:visible") == []
    assert window.count(".empty:visible") == 0


def test_a_chat_that_is_deleted_is_not_reconnected(browser: Browser, chat: Chat, api: Api) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    assert api.client.delete(f"{api.crud}{chat.path}").status_code == 204
    ann.until(lambda: ann.text("#banner"), "This chat was deleted.")
    ann.until(lambda: ann.text("#connection"), "Disconnected")


def test_a_link_that_lost_its_end_is_told_in_words(
    browser: Browser, demo_stack: RunningStack, chat: Chat
) -> None:
    window = browser.window("Ann", chat.page.rpartition("/")[0][:-3])
    window.until(lambda: window.text("#banner").startswith("This link is not complete."), True)
    window.see("#start")
