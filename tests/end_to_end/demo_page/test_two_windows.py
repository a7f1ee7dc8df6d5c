"""Two windows of the chat page talk to each other."""

import pytest

from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser

pytestmark = pytest.mark.timeout(300)


def test_two_windows_talk_to_each_other(browser: Browser, chat: Chat) -> None:
    ann, ben = sit_down(browser, "Ann", chat.page), sit_down(browser, "Ben", chat.page)
    ann.send_message("Hello, is anybody there?")
    ben.until_texts("#messages .body", ["Hello, is anybody there?"])
    ben.send_message("Yes!\nIt works")
    ann.until_texts("#messages .body", ["Hello, is anybody there?", "Yes!\nIt works"])
    assert ann.texts("#messages .meta b") == ben.texts("#messages .meta b") == ["Ann", "Ben"]
    assert ann.texts("#messages .mine .body") == ["Hello, is anybody there?"]
    ann.until(lambda: ann.count("#pending li"), 0)
    assert ann.errors() == ben.errors() == []
