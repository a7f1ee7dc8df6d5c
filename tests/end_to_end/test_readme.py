"""Every request in the README is sent and gets the response shown there.

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
from tests.polling import eventually

README = (ROOT / "README.md").read_text()
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
    """A command, and what the README says it prints."""

    command: str
    answer: str


def read_examples() -> Iterator[Example]:
    for commands, kind, answers in EXAMPLE.findall(README):
        if kind == "ndjson":
            yield Example(commands.strip(), answers)
            continue
        pairs = zip(commands.splitlines(), answers.splitlines(), strict=True)
        yield from (Example(command, answer) for command, answer in pairs)


EXAMPLES = list(read_examples())


def run(stack: RunningStack, command: str, token: str) -> str:
    """Return what a command prints, run against the stack's ports."""
    for port, url in ((3000, stack.crud_url), (8080, stack.numbering_url)):
        command = command.replace(f"http://127.0.0.1:{port}", url)
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(
        ["sh", "-c", command.replace("curl", "curl -sS --noproxy '*'", 1)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
    )
    return done.stdout


def comparable(answer: str, example: Example) -> str:
    """Return a response without its variable parts; of all applications only the last one."""
    if example.command.endswith("/applications"):
        answer = "[{" + answer.rpartition("{")[2]
    for pattern, name in VARYING:
        answer = pattern.sub(name, answer)
    return answer


def test_streams_tell_what_the_readme_shows(stack: RunningStack) -> None:
    token = TOKEN.findall(run(stack, EXAMPLES[0].command, ""))[0]
    for example in EXAMPLES[1:]:
        answer_to(stack, example, token)
    streams = STREAM.findall(README)
    assert len(streams) == 2
    for command, shown in streams:
        seen = run(stack, f"{command} -m {STREAM_SECONDS} || true", token)
        example = Example(command, shown)
        events = HEARTBEAT.sub("", seen).strip()
        assert comparable(events, example) == comparable(shown.strip(), example)


def answer_to(stack: RunningStack, example: Example, token: str) -> str:
    """Return what a command prints: at once if it creates, else once it is as expected."""
    expected = comparable(example.answer, example)
    return eventually(
        lambda: run(stack, example.command, token),
        lambda answer: comparable(answer, example) == expected,
        0.0 if "-X" in example.command else ANSWERED_WITHIN_SECONDS,
    )


@pytest.mark.timeout(500)
def test_the_answers_in_the_readme_are_what_its_commands_print(stack: RunningStack) -> None:
    token = ""
    for example in EXAMPLES:
        printed = answer_to(stack, example, token)
        assert comparable(printed, example) == comparable(example.answer, example)
        token = token or TOKEN.findall(printed)[0]


def test_the_readme_shows_every_command_with_its_answer() -> None:
    shown = len(EXAMPLES) + len(STREAM.findall(README))
    assert shown == len(re.findall("^curl ", README, re.MULTILINE))
    assert len(EXAMPLES) >= 12
