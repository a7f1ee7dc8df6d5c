"""Changing, deleting and searching messages on the chat page; hostile texts."""

import json
from urllib.parse import urlsplit

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser, Window

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

pytestmark = pytest.mark.timeout(300)


def press_action(window: Window, number: int, action: str) -> None:
    """Press a button of a message, which shows while the pointer is over the message."""
    message = f'#messages li[data-number="{number}"]'
    window.call(message, "hover")
    window.click(f'{message} [data-action="{action}"]')


def begin_to_change(browser: Browser, chat: Chat) -> Window:
    """Sit down as Ann, send a message "one", and begin to change it."""
    ann = sit_down(browser, "Ann", chat.page)
    ann.send_message("one")
    ann.until(ann.bodies, ["one"])
    press_action(ann, 1, "edit")
    ann.until(lambda: ann.call("#body", "inputValue"), "one")
    return ann


def overtake(api: Api, chat: Chat) -> None:
    """Have somebody else change the first message."""
    message = f"{api.crud}{chat.path}/messages/1"
    assert api.client.put(message, json={"body": "two"}).status_code == 200


def test_a_change_is_seen_in_the_other_window(browser: Browser, chat: Chat) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.send_message("Helo")
    ben.until(ben.bodies, ["Helo"])
    ann.until(ann.bodies, ["Helo"])
    press_action(ann, 1, "edit")
    ann.until(lambda: ann.call("#body", "inputValue"), "Helo")
    ann.send_message("Hello")
    ben.until(ben.bodies, ["Hello"])
    ben.see("#messages .edited")
    assert ben.count("[data-action]") == 0, "only Ann's own window offers to change it"
    assert ann.call("#body", "inputValue") == ""


def test_a_field_that_grows_does_not_hide_the_newest_message(
    browser: Browser, chat: Chat, api: Api
) -> None:
    for number in range(1, 41):
        api.message(chat.path, f"message {number}")
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.bodies()[-1:], ["message 40"])
    ann.fill("#body", "many lines\n" * 8)
    newest = "document.querySelector('#messages li:last-child').getBoundingClientRect().bottom"
    below = "document.getElementById('composer').getBoundingClientRect().top"
    ann.until(lambda: ann.evaluate(f"{newest} <= {below}"), True)


def test_a_change_that_somebody_overtook_is_not_written_over_theirs(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = begin_to_change(browser, chat)
    overtake(api, chat)
    ann.send_message("three")
    ann.until(lambda: "to “two”" in ann.text("#editing"), True)
    assert ann.call("#body", "inputValue") == "three"
    assert api.get(f"{chat.path}/messages/1")["body"] == "two"
    ann.call("#body", "press", "Enter")
    ann.until(lambda: api.get(f"{chat.path}/messages/1")["body"], "three")


def test_a_change_that_is_saved_twice_does_not_overtake_itself(
    browser: Browser, chat: Chat
) -> None:
    ann = begin_to_change(browser, chat)
    ann.hold_answers("request.method === 'PUT'")
    ann.send_message("two")
    ann.until_held()
    ann.call("#body", "press", "Enter")
    assert ann.text("#send") == "Save"
    ann.evaluate("window.go()")
    ann.until(lambda: ann.text("#send"), "Send")
    puts = [each for each in ann.requests() if each["method"] == "PUT"]
    assert len(puts) == 1


def test_nothing_is_written_into_a_change_that_is_being_saved(browser: Browser, chat: Chat) -> None:
    """It would be lost once the change is saved."""
    ann = begin_to_change(browser, chat)
    ann.hold_answers("request.method === 'PUT'")
    ann.send_message("two")
    ann.until_held()
    ann.type("!")
    assert ann.call("#body", "inputValue") == "two"
    ann.press("Escape")
    ann.type("next")
    ann.evaluate("window.go()")
    ann.until(ann.bodies, ["two"])
    assert ann.call("#body", "inputValue") == "next"


def test_a_change_that_was_given_up_is_not_opened_again_by_a_late_answer(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = begin_to_change(browser, chat)
    overtake(api, chat)
    ann.hold_answers("request.method === 'GET' && request.url.endsWith('/messages/1')")
    ann.send_message("three")
    ann.until_held()
    ann.press("Escape")
    ann.type("next")
    ann.evaluate("window.go()")
    ann.call("@page", "waitForTimeout", 500)
    assert (ann.text("#send"), ann.call("#body", "inputValue")) == ("Send", "next")


def test_an_overtaken_change_that_cannot_be_read_is_told_of(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann = begin_to_change(browser, chat)
    overtake(api, chat)
    ann.refuse("request.method === 'GET' && request.url.endsWith('/messages/1')")
    ann.send_message("three")
    ann.until(lambda: ann.text("#banner"), "Message 1 was changed in the meantime. Refused.")
    assert ann.call("#body", "inputValue") == "three"


def test_what_is_written_and_not_sent_waits_in_its_chat(
    browser: Browser, chat: Chat, api: Api
) -> None:
    application = chat.path.rpartition("/chats/")[0]
    api.wait_for_numbers(f"{application}/chats", [1, int(api.chat(application).rpartition("/")[2])])
    ann = sit_down(browser, "Ann", chat.page)
    ann.until(lambda: ann.count("#chats a"), 2)
    ann.fill("#body", "not finished yet")
    ann.click("#chats a:not([aria-current])")
    ann.until(lambda: ann.call("#body", "inputValue"), "")
    ann.send_message("in the other chat")
    ann.until(ann.bodies, ["in the other chat"])
    ann.click("#chats a:not([aria-current])")
    ann.until(lambda: ann.call("#body", "inputValue"), "not finished yet")
    ann.press("Enter")
    ann.until(ann.bodies, ["not finished yet"])


def test_a_deleted_message_disappears_in_the_other_window(
    browser: Browser, chat: Chat, api: Api
) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.send_message("a secret")
    ann.until(ann.bodies, ["a secret"])
    ben.until(ben.bodies, ["a secret"])
    press_action(ann, 1, "delete")
    ann.press("Escape")
    assert ann.bodies() == ["a secret"]
    press_action(ann, 1, "delete")
    ann.click('#confirm button[value="delete"]')
    ben.until(ben.bodies, ["This message was deleted."])
    ann.until(ann.bodies, ["This message was deleted."])
    assert ann.count("[data-action]") == 0
    assert ann.texts("#messages .meta b") == ben.texts("#messages .meta b") == []
    assert api.get(f"{chat.path}/messages/1")["body"] == ""


def test_a_search_marks_what_it_finds_as_one_types(browser: Browser, chat: Chat, api: Api) -> None:
    for number in range(1, 121):
        api.message(chat.path, "In the Café" if number == 7 else f"message {number}")
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=cafe", [7])
    ann = sit_down(browser, "Ann", chat.page)
    ann.click("#keyword")
    ann.type("caf")
    ann.until_texts("#found mark", ["Caf"])
    ann.type("e")
    ann.until_texts("#found mark", ["Café"])
    assert ann.text("#search-status") == "1 message"
    assert 7 not in ann.numbers(), "it is further up than what is loaded"
    ann.press("ArrowDown", "Enter")
    ann.until(lambda: ann.evaluate("document.activeElement.dataset.number"), "7")
    assert ann.count("#results:visible") == 0
    ann.click("#keyword")
    ann.type("zzz")
    ann.until(lambda: ann.text("#search-status"), "No message contains this.")
    ann.press("Escape")
    ann.until(lambda: ann.count("#results:visible"), 0)


def test_an_excerpt_ends_with_whole_emoji(browser: Browser, chat: Chat, api: Api) -> None:
    api.message(chat.path, f"{'😀' * 40}. needle")
    api.message(chat.path, f"needle.{'😀' * 200}")
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=needle&sort=number", [1, 2])
    ann = sit_down(browser, "Ann", chat.page)
    ann.fill("#keyword", "needle")
    ann.until(lambda: ann.count("#found mark"), 2)
    assert ann.evaluate("document.getElementById('found').textContent.isWellFormed()")


def test_a_late_answer_does_not_replace_that_to_a_later_search(
    browser: Browser, chat: Chat, api: Api
) -> None:
    api.message(chat.path, "one")
    api.message(chat.path, "two")
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=two", [2])
    ann = sit_down(browser, "Ann", chat.page)
    ann.hold_answers("request.url.includes('keyword=one')")
    ann.fill("#keyword", "one")
    ann.until_held()
    ann.fill("#keyword", "two")
    ann.until_texts("#found mark", ["two"])
    ann.evaluate("window.go()")
    ann.call("@page", "waitForTimeout", 500)
    assert ann.texts("#found mark") == ["two"]
    ann.evaluate("delete window.go")
    ann.fill("#keyword", "one")
    ann.until_held()
    ann.fill("#keyword", "")
    ann.until(lambda: ann.count("#results:visible"), 0)
    ann.evaluate("window.go()")
    ann.call("@page", "waitForTimeout", 500)
    assert ann.count("#results:visible") == 0, "nothing is searched for any more"


def test_hostile_texts_stay_texts(browser: Browser, chat: Chat, api: Api) -> None:
    url = f"{api.numbering}{chat.path}/messages"
    # A body that looks as if it were highlighted already.
    bodies = [HOSTILE, "&lt;em&gt;<em>needle</em>&amp;amp; " + HOSTILE]
    for body in bodies:
        answer = api.client.post(url, json={"body": body, "sender": HOSTILE})
        assert answer.status_code == 201
    put = api.client.put(f"{api.crud}{chat.path}", json={"name": HOSTILE})
    assert put.status_code == 200
    api.wait_for_numbers(f"{chat.path}/messages/search?keyword=needle", [2])
    ann = sit_down(browser, HOSTILE, chat.page)
    ann.until(ann.bodies, bodies)
    assert ann.texts("#messages .meta b") == [HOSTILE] * 2
    ann.until_texts("#chat-title", [HOSTILE])
    ann.until_texts("#chats b", [HOSTILE])
    ann.fill("#keyword", "needle")
    ann.until_texts("#found mark", ["needle"])
    assert ann.texts("#found .excerpt")[0].startswith("&lt;em&gt;<em>needle</em>&amp;amp; <img")
    press_action(ann, 2, "delete")
    assert ann.text("#confirm-text") == bodies[1]
    assert ann.count("main img[src=x], #workspace script, dialog img") == 0
    assert "owned" not in ann.call("@page", "title").replace(HOSTILE, "")
    assert ann.errors() == []


def test_a_page_that_parses_markup_is_stopped_by_its_policy(browser: Browser, chat: Chat) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    script = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'parsed'; }"
    assert ann.evaluate(script + " catch (error) { return error.name; } })()") == "TypeError"


def test_the_token_goes_to_the_api_alone_and_to_no_log(
    browser: Browser, chat: Chat, demo_stack: RunningStack
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    ann.send_message("logged")
    ann.until(ann.bodies, ["logged"])
    token = chat.path.split("/")[2]
    requests = ann.requests()
    files = [each for each in requests if "/applications/" not in urlsplit(each["url"]).path]
    assert any(each["url"].endswith("/main.js") for each in files)
    assert [each["url"] for each in files if token in json.dumps(each)] == []
    assert {each["headers"].get("referer", "") for each in requests} == {""}
    for part in ("crud", "numbering"):
        log = (demo_stack.layout.logs / f"{part}.log").read_text()
        assert token[:4] in log
        assert token not in log
