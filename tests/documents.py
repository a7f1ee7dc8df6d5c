"""The examples of a document: each command, and what the document says it prints.

An example is a block of curl commands followed by a block of their answers, one line
each; an NDJSON answer has all of its lines. Tokens, times and request ids differ from
run to run; everything else has to be the same, to the letter.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from local_stack.applications import ROOT
from tests.polling import eventually

EXAMPLE = re.compile(r"```sh\n((?:curl .*\n)+)```\n```(json|ndjson)\n((?:.*\n)+?)```")
# A stream is shown with what it has sent at the end of all examples.
STREAM = re.compile(r"```sh\n(curl -N .*)\n```\n```text\n((?:.*\n)+?)```")
STREAM_SECONDS = 3
# A heartbeat, which may come at any moment.
HEARTBEAT = re.compile(r"^:\n\n?", re.MULTILINE)
# Between two answers a message may have to be stored, or indexed.
ANSWERED_WITHIN_SECONDS = 60.0
TOKEN = re.compile(r"\b[A-Za-z0-9]{24}\b")
VARYING = (
    (TOKEN, "TOKEN"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"^id: \d+$", re.MULTILINE), "id: ID"),
    (re.compile(r'"request_id": "[^"]+"'), '"request_id": "ID"'),
)


class Addresses(Protocol):
    """Where both services of a stack listen."""

    crud_url: str
    numbering_url: str


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

    def follow(self, stack: Addresses) -> None:
        """Run every example in turn; fails at the first one that prints something else."""
        token = ""
        for example in self.examples:
            printed = answer_to(stack, example, token)
            assert comparable(printed, example) == comparable(example.answer, example)
            if not token or "/rotate" in example.command:
                token = TOKEN.findall(printed)[0]
        for stream in self.streams:
            expected = comparable(stream.answer, stream)
            seen = eventually(
                partial(events_of, stack, stream, token), expected.__eq__, ANSWERED_WITHIN_SECONDS
            )
            assert seen == expected


def events_of(stack: Addresses, stream: Example, token: str) -> str:
    """Return what a stream has sent after some seconds, which on a busy machine may be less."""
    seen = run(stack, f"{stream.command} -m {STREAM_SECONDS} || true", token)
    return comparable(HEARTBEAT.sub("", seen), stream)


def read_examples(text: str) -> Iterator[Example]:
    for commands, kind, answers in EXAMPLE.findall(text):
        if kind == "ndjson":
            yield Example(commands.strip(), answers)
            continue
        pairs = zip(commands.splitlines(), answers.splitlines(), strict=True)
        yield from (Example(command, answer) for command, answer in pairs)


def run(stack: Addresses, command: str, token: str) -> str:
    """Return what a command prints, run against the stack's ports, with the usual ports in it."""
    urls = {
        "http://127.0.0.1:3000": stack.crud_url,
        "http://127.0.0.1:8080": stack.numbering_url,
    }
    for documented, url in urls.items():
        command = command.replace(documented, url)
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(
        ["sh", "-c", command.replace("curl", "curl -sS --noproxy '*'", 1)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    printed = done.stdout
    for documented, url in urls.items():
        printed = printed.replace(url, documented)
    return printed


def comparable(answer: str, example: Example) -> str:
    """Return a response without its variable parts; of all applications only the last one."""
    if example.command.endswith("/applications"):
        answer = "[{" + answer.rpartition("{")[2]
    for pattern, name in VARYING:
        answer = pattern.sub(name, answer)
    return answer.strip()


def answer_to(stack: Addresses, example: Example, token: str) -> str:
    """Return what a command prints: at once if it changes something, else once as expected."""
    expected = comparable(example.answer, example)
    return eventually(
        lambda: run(stack, example.command, token),
        lambda answer: comparable(answer, example) == expected,
        0.0 if changes_something(example.command) else ANSWERED_WITHIN_SECONDS,
    )


def changes_something(command: str) -> bool:
    return re.search(r" -X (?!GET\b)", command) is not None
