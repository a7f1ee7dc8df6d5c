"""Every request in the documents for clients is sent and gets the response shown there."""

import re

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.documents import Document
from tests.end_to_end.conftest import SETTINGS

DOCUMENTS = ("README.md", "docs/api.md", "docs/postman.md", "docs/clients.md")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> Document:
    return Document(request.param)


@pytest.mark.timeout(500)
def test_commands_and_streams_print_what_the_document_shows(
    described: RunningStack, document: Document
) -> None:
    document.follow(described)


def test_the_document_shows_every_command_with_its_answer(document: Document) -> None:
    shown = len(document.examples) + len(document.streams)
    assert shown == len(re.findall("^curl ", document.text, re.MULTILINE))
    assert shown >= 5


def test_commands_with_the_token_follow_a_line_that_sets_it(document: Document) -> None:
    before_the_token, _, _ = document.text.partition("\nTOKEN=")
    assert "$TOKEN" not in "".join(SHELL.findall(before_the_token))
    rotations = document.text.split("/rotate\n")[1:]
    assert all("\nTOKEN=" in after.partition("$TOKEN")[0] for after in rotations)


def test_no_block_reads_what_it_has_only_just_created(document: Document) -> None:
    """A block is pasted as a whole; the message is stored, and indexed, a moment later."""
    for block in SHELL.findall(document.text):
        _, created, later = block.partition("curl -X POST http://127.0.0.1:8080/")
        assert not created or "127.0.0.1:3000" not in later


def test_commands_that_print_headers_alone_show_no_progress(document: Document) -> None:
    commands = re.findall("^curl .*-o /dev/null.*", document.text, re.MULTILINE)
    assert [command for command in commands if " -s " not in command] == []


def test_the_page_for_clients_names_the_settings() -> None:
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    assert f"`make run {settings}`" in (ROOT / "docs/clients.md").read_text()
