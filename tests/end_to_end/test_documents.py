"""Every request in the documents for clients is sent and gets the response shown there.

An example is a block of curl commands with the block of their answers behind
it, a line each; one whose answer is NDJSON has all of its lines. Tokens, times and
request ids differ from run to run; all else has to be the same, to the letter.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.conftest import SESSION
from tests.polling import eventually

DOCUMENTS = ("README.md", "docs/clients.md")
# What docs/clients.md says that the stack was started with.
SETTINGS = {"CORS_ORIGINS": "https://chat.example.com", "RATE_LIMIT": "1000"}
EXAMPLE = re.compile(r"```sh\n((?:curl .*\n)+)```\n```(json|ndjson)\n((?:.*\n)+?)```")
# A stream is shown with what it has told at the end of all examples.
STREAM = re.compile(r"```sh\n(curl -N .*)\n```\n```text\n((?:.*\n)+?)```")
STREAM_SECONDS = 3
# A sign of life, which may come at any moment.
HEARTBEAT = re.compile(r"^:\n\n?", re.MULTILINE)
# From one answer on to the next a message has to be stored, or indexed.
ANSWERED_WITHIN_SECONDS = 15.0
TOKEN = re.compile(r"\b[A-Za-z0-9]{24}\b")
VARYING = (
    (TOKEN, "TOKEN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"^id: \d+$", re.MULTILINE), "id: ID"),
    (re.compile(r'"request_id": "[^"]+"'), '"request_id": "ID"'),
)


@dataclass(frozen=True)
class Example:
    """A command, and what the document says it prints."""

    command: str
    answer: str


class Document:
    """A document's examples, from top to bottom, and the streams that it shows."""

    def __init__(self, path: str) -> None:
        self.text = (ROOT / path).read_text()
        self.examples = list(read_examples(self.text))
        self.streams = [Example(*shown) for shown in STREAM.findall(self.text)]


def read_examples(text: str) -> Iterator[Example]:
    for commands, kind, answers in EXAMPLE.findall(text):
        if kind == "ndjson":
            yield Example(commands.strip(), answers)
            continue
        pairs = zip(commands.splitlines(), answers.splitlines(), strict=True)
        yield from (Example(command, answer) for command, answer in pairs)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> Document:
    return Document(request.param)


@pytest.fixture(scope="module")
def described() -> Iterator[RunningStack]:
    """A stack as the documents describe it."""
    with RunningStack(SESSION / "described", environment=SETTINGS) as running:
        yield running


def run(stack: RunningStack, command: str, token: str) -> str:
    """Return what a command prints, run against the stack's ports, with the usual ports in it."""
    urls = {
        "http://127.0.0.1:3000": stack.crud_url,
        "http://127.0.0.1:8080": stack.numbering_url,
    }
    for shown, url in urls.items():
        command = command.replace(shown, url)
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(
        ["sh", "-c", command.replace("curl", "curl -sS --noproxy '*'", 1)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
    )
    printed = done.stdout
    for shown, url in urls.items():
        printed = printed.replace(url, shown)
    return printed


def comparable(answer: str, example: Example) -> str:
    """Return a response without its variable parts; of all applications only the last one."""
    if example.command.endswith("/applications"):
        answer = "[{" + answer.rpartition("{")[2]
    for pattern, name in VARYING:
        answer = pattern.sub(name, answer)
    return answer.strip()


def answer_to(stack: RunningStack, example: Example, token: str) -> str:
    """Return what a command prints: at once if it changes something, else once as expected."""
    expected = comparable(example.answer, example)
    return eventually(
        lambda: run(stack, example.command, token),
        lambda answer: comparable(answer, example) == expected,
        0.0 if "-X" in example.command else ANSWERED_WITHIN_SECONDS,
    )


@pytest.mark.timeout(500)
def test_commands_and_streams_print_what_the_document_shows(
    described: RunningStack, document: Document
) -> None:
    token = ""
    for example in document.examples:
        printed = answer_to(described, example, token)
        assert comparable(printed, example) == comparable(example.answer, example)
        if not token or "/rotate" in example.command:
            token = TOKEN.findall(printed)[0]
    for stream in document.streams:
        seen = run(described, f"{stream.command} -m {STREAM_SECONDS} || true", token)
        events = HEARTBEAT.sub("", seen)
        assert comparable(events, stream) == comparable(stream.answer, stream)


def test_the_document_shows_every_command_with_its_answer(document: Document) -> None:
    shown = len(document.examples) + len(document.streams)
    assert shown == len(re.findall("^curl ", document.text, re.MULTILINE))
    assert len(document.examples) >= 12


def test_the_readme_shows_streams() -> None:
    assert len(Document("README.md").streams) == 2


def test_the_page_for_clients_names_the_settings() -> None:
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    assert f"`make run {settings}`" in (ROOT / "docs/clients.md").read_text()
