"""Windows of a real Chromium, driven line by line (`tests/end_to_end/browser/drive.mjs`)."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from tests.chromium import PROGRAMS
from tests.polling import eventually

# Generous: what is claimed is that it happens.
SEEN_WITHIN_SECONDS = 30.0
# States of the connection and of the open chat, if there is one.
FOLLOWING = (["connected", "read"], ["connected", None])


class BrowserError(Exception):
    """A command failed in the browser; the message is what it said."""


class Viewport(NamedTuple):
    width: int
    height: int


class Browser:
    """A Chromium; it ends with the context."""

    def __init__(self, chromium: str) -> None:
        self._command = ["node", "drive.mjs", chromium]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=PROGRAMS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # It ends with its input.
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def window(
        self, name: str, url: str, viewport: Viewport | None = None, **options: Any
    ) -> "Window":
        """Open a window with a storage of its own; `options` are those of a Playwright context."""
        if viewport is not None:
            options["viewport"] = viewport._asdict()
        self.send({"open": name, "url": url, "options": options})
        return Window(self, name)

    def window_beside(self, other: "Window", name: str, url: str) -> "Window":
        """Open a window that shares its connections and its storage with another one."""
        self.send({"open": name, "url": url, "beside": other.name})
        return Window(self, name)

    def close_windows(self) -> None:
        """Close all windows; what is opened next finds nothing of theirs in its storage."""
        self.send({"closeAll": True})

    def send(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the browser has ended"}')
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["result"]


class Window:
    """A window, and what a person does in it and sees."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser, self.name = browser, name

    def call(self, on: str, method: str, *args: Any) -> Any:
        return self._browser.send({"window": self.name, "on": on, "call": method, "args": args})

    def click(self, selector: str) -> None:
        self.call(selector, "click")

    def fill(self, selector: str, text: str) -> None:
        self.call(selector, "fill", text)

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        for key in keys:
            self.call("@keyboard", "press", key)

    def type(self, text: str) -> None:
        self.call("@keyboard", "type", text)

    def text(self, selector: str) -> str:
        return str(self.call(selector, "innerText"))

    def texts(self, selector: str) -> list[str]:
        return list(self.call(selector, "allInnerTexts"))

    def count(self, selector: str) -> int:
        return int(self.call(selector, "count"))

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression is; it has to be JSON, and no object."""
        return self.call("@page", "evaluate", expression)

    def hold_answers(self, condition: str) -> None:
        """Hold each answer to a `request` of a kind until `window.go()`, there once one is held."""
        self.evaluate(
            "(() => { const real = fetch; window.fetch = async (request) => {"
            " const answer = await real(request);"
            f" if ({condition}) await new Promise((go) => (window.go = go));"
            " return answer; }; })()"
        )

    def refuse(self, condition: str) -> None:
        """Have each `request` of a kind refused as a proxy may do it."""
        self.evaluate(
            "(() => { const real = fetch; window.fetch = async (request, options) => {"
            f" if (!({condition})) return real(request, options);"
            " return Response.json({code: 'refused', detail: 'Refused.'}, {status: 403}); }; })()"
        )

    def until_held(self) -> None:
        self.until(lambda: self.evaluate("'go' in window"), True)

    def see(self, selector: str) -> None:
        self.call(selector, "waitFor")

    def until(
        self, probe: Callable[[], Any], wanted: Any, seconds: float = SEEN_WITHIN_SECONDS
    ) -> None:
        """Wait until a probe returns what is wanted; fails, with what it returned, if never."""
        found = eventually(probe, lambda it: bool(it == wanted), seconds)
        assert found == wanted, f"{found!r} instead of {wanted!r}"

    def until_texts(self, selector: str, wanted: list[str]) -> None:
        self.until(lambda: self.texts(selector), wanted)

    def until_connected(self) -> None:
        """Wait until the page follows what it shows.

        The page calls itself connected once it follows the list of chats, while the open chat may
        still be read; it is followed from then on.
        """
        states = "['connection', 'chat'].map(id => document.getElementById(id).dataset.state)"
        self.until(lambda: self.evaluate(states) in FOLLOWING, True)

    def state(self) -> str:
        return str(self.call("#connection", "getAttribute", "data-state"))

    def send_message(self, body: str) -> None:
        self.fill("#body", body)
        self.call("#body", "press", "Enter")

    def until_all_is_sent(self) -> None:
        self.until(lambda: self.count("#pending li"), 0)

    def bodies(self) -> list[str]:
        """The texts of the messages in the document, without pending ones."""
        return self.texts("#messages .body")

    def numbers(self) -> list[int]:
        expression = "[...document.querySelectorAll('#messages li')].map(li => +li.dataset.number)"
        return list(self.evaluate(expression))

    def offline(self, is_offline: bool) -> None:
        self.call("@context", "setOffline", is_offline)

    def close(self) -> None:
        self.call("@page", "close")

    def violations(self) -> list[dict[str, Any]]:
        """Return what axe finds wrong with the page as it is now, in both themes."""
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = self._axe(tags)
        with self.theme("dark"):
            # The themes differ in nothing but colours.
            return found + self._axe(["color-contrast", "link-in-text-block"])

    def _axe(self, rules: list[str]) -> list[dict[str, Any]]:
        return list(self._browser.send({"window": self.name, "axe": {"runOnly": rules}}))

    @contextmanager
    def theme(self, name: str) -> Iterator[None]:
        """Have the system prefer a theme, and the light one afterwards."""
        self.call("@page", "emulateMedia", {"colorScheme": name})
        try:
            yield
        finally:
            self.call("@page", "emulateMedia", {"colorScheme": "light"})

    def errors(self) -> list[str]:
        """Errors of scripts, and what the console shows as one."""
        return list(self._browser.send({"window": self.name, "noted": True})["errors"])

    def posts(self) -> list[dict[str, Any]]:
        return [each for each in self.requests() if each["method"] == "POST"]

    def requests(self) -> list[dict[str, Any]]:
        return list(self._browser.send({"window": self.name, "noted": True})["requests"])
