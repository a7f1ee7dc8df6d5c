"""The pictures of the chat page in README: `make screenshots`.

`docs/images/demo.png` is one window, `docs/images/demo.webp` a recording of two that talk. Both
come from Chromium on a stack of their own, which ends with the script.
"""

import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import httpx
from PIL import Image

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.chromium import PROGRAMS, find_chromium
from tests.end_to_end.demo_page.windows import Browser, Viewport, Window
from tests.node_packages import require_node_packages

IMAGES = ROOT / "docs" / "images"
STILL = Viewport(1180, 720)
HALF = Viewport(480, 600)
GAP = 8
BETWEEN_WINDOWS = "#8b93a7"

CHATS = {
    "Billing": [("Mira", "The invoice of October is paid.")],
    "Release 1.0": [("Tom", "The changelog is ready for review")],
    "General": [
        ("Mira", "Good morning! Coffee at ten in the Café?"),
        ("Tom", "Yes, please"),
        ("Mira", "Numbers start at 1 in each chat, and there are no gaps."),
        ("Tom", "Even if I send from three windows at once?"),
        ("Mira", "Even then. This is message 5, and it is on disk."),
        ("Tom", "Добрый день, مرحبا, and hello from a phone"),
        ("Mira", "Search for “cafe”: it finds the Café above."),
    ],
}


class Frame(NamedTuple):
    picture: Image.Image
    milliseconds: int


def main() -> int:
    chromium = find_chromium()
    if chromium is None:
        print("Chromium is not installed", file=sys.stderr)  # noqa: T201 - to a person
        return 1
    require_node_packages(PROGRAMS)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        settings = {"WITHOUT_ELASTICSEARCH": "1"}
        with RunningStack(Path(directory), environment=settings) as stack:
            page = seed(stack)
            with Browser(chromium) as browser:
                take_still(browser, page)
                save(record(browser, page))
    return 0


def seed(stack: RunningStack) -> str:
    """Fill an application with chats; return the address of the page with the last one."""
    with httpx.Client(timeout=60, **PLAIN_HTTP) as client:
        api = Api(client, stack.crud_url, stack.numbering_url)
        application = api.application("Acme")
        for name, messages in CHATS.items():
            created = client.post(f"{api.numbering}{application}/chats", json={"name": name})
            path = f"{application}/chats/{created.json()['number']}"
            for sender, body in messages:
                content = {"sender": sender, "body": body}
                client.post(f"{api.numbering}{path}/messages", json=content)
            api.wait_for_numbers(f"{path}/messages", list(range(1, len(messages) + 1)))
        return f"{stack.crud_url}/demo#{path.removeprefix('/applications').replace('/chats', '')}"


def sit_down(browser: Browser, name: str, page: str, **options: object) -> Window:
    window = browser.window(name, page, **options)
    window.until_connected()
    window.evaluate(f"sessionStorage.setItem('sender', '{name}')")
    window.call("@page", "reload")
    window.until_connected()
    window.until(lambda: len(window.bodies()) > 0, True)
    return window


def take_still(browser: Browser, page: str) -> None:
    window = sit_down(browser, "Mira", page, viewport=STILL, colorScheme="light", locale="en-GB")
    picture(window, IMAGES / "demo.png")
    with Image.open(IMAGES / "demo.png") as image:
        image.convert("RGB").quantize(192).save(IMAGES / "demo.png", optimize=True)


def picture(window: Window, path: Path) -> Image.Image:
    window.call("@page", "screenshot", {"path": str(path)})
    return Image.open(BytesIO(path.read_bytes())).convert("RGB")


class Camera:
    """Takes pictures of two windows, side by side."""

    def __init__(self, left: Window, right: Window, directory: Path) -> None:
        self._windows, self._path = (left, right), directory / "frame.png"

    def shoot(self, milliseconds: int) -> Frame:
        size = (HALF.width * 2 + GAP, HALF.height)
        both = Image.new("RGB", size, BETWEEN_WINDOWS)
        for position, window in enumerate(self._windows):
            both.paste(picture(window, self._path), (position * (HALF.width + GAP), 0))
        return Frame(both, milliseconds)


def record(browser: Browser, page: str) -> list[Frame]:
    mira = sit_down(browser, "Mira", page, viewport=HALF, colorScheme="light", locale="en-GB")
    tom = sit_down(browser, "Tom", page, viewport=HALF, colorScheme="dark", locale="en-GB")
    with tempfile.TemporaryDirectory() as directory:
        return list(scenes(mira, tom, Camera(mira, tom, Path(directory))))


def scenes(mira: Window, tom: Window, camera: Camera) -> Iterator[Frame]:
    yield camera.shoot(1200)
    yield from typing(mira, "#body", "Two windows, one chat: can you read me?", camera)
    yield sent(mira, tom, 8, camera)
    yield from typing(tom, "#body", "At once.", camera)
    yield sent(tom, mira, 9, camera)
    mira.call('[data-number="8"]', "hover")
    mira.click('[data-number="8"] [data-action="edit"]')
    mira.until(lambda: mira.count("#editing:visible"), 1)
    yield camera.shoot(700)
    mira.fill("#body", "")
    yield from typing(mira, "#body", "Two windows, one chat!", camera)
    mira.press("Enter")
    tom.until(lambda: tom.texts('[data-number="8"] .body'), ["Two windows, one chat!"])
    mira.until(lambda: mira.count("#editing:visible"), 0)
    yield camera.shoot(1600)
    yield from typing(tom, "#keyword", "cafe", camera)
    tom.until(lambda: tom.count("#found mark"), 3)
    yield camera.shoot(2200)
    tom.press("ArrowDown")
    yield camera.shoot(500)
    tom.press("Escape")
    tom.offline(True)
    tom.until(tom.state, "offline")
    yield camera.shoot(800)
    yield from typing(tom, "#body", "Written in a tunnel", camera)
    tom.press("Enter")
    tom.until(lambda: "not sent" in tom.text("#pending"), True)
    yield camera.shoot(1600)
    tom.offline(False)
    yield sent(tom, mira, 10, camera)
    tom.until_connected()
    yield camera.shoot(2400)


def typing(window: Window, field: str, text: str, camera: Camera) -> Iterator[Frame]:
    window.click(field)
    for start, end in pairwise([*range(0, len(text), 4), len(text)]):
        window.type(text[start:end])
        yield camera.shoot(110)


def sent(sender: Window, reader: Window, number: int, camera: Camera) -> Frame:
    """Send what is written, and take a picture when both windows show it."""
    if sender.call("#body", "inputValue"):
        sender.press("Enter")
    for window in (sender, reader):
        window.until(lambda window=window: window.numbers()[-1], number)
        window.until_texts("#chat-subtitle", [f"{number} messages"])
    sender.until(lambda: sender.count("#pending li"), 0)
    return camera.shoot(1300)


def save(frames: list[Frame]) -> None:
    first, *others = [frame.picture for frame in frames]
    first.save(
        IMAGES / "demo.webp",
        save_all=True,
        append_images=others,
        duration=[frame.milliseconds for frame in frames],
        loop=0,
        quality=80,
        method=6,
        minimize_size=True,
    )


if __name__ == "__main__":
    sys.exit(main())
