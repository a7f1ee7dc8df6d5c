"""A message that could not be stored at first, on the chat page."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.api_client import Api
from tests.end_to_end.demo_page.conftest import Chat, sit_down
from tests.end_to_end.demo_page.windows import Browser

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def requeue(demo_stack: RunningStack) -> Iterator[Callable[[], None]]:
    """Have PostgreSQL reject the body "poison", until this is called."""
    drop = "ALTER TABLE messages DROP CONSTRAINT IF EXISTS poison"
    environment = {**os.environ, **demo_stack.environment}
    command = [sys.executable, "-m", "crud_service.manage", "requeue"]
    with psycopg.connect(demo_stack.environment["DATABASE_URL"], autocommit=True) as database:

        def accept_and_requeue() -> None:
            database.execute(drop)
            subprocess.run(command, cwd=ROOT, env=environment, check=True)

        database.execute(
            "ALTER TABLE messages ADD CONSTRAINT poison CHECK (body <> 'poison') NOT VALID"
        )
        yield accept_and_requeue
        database.execute(drop)


def test_a_message_that_is_put_back_appears_in_its_place(
    browser: Browser, chat: Chat, api: Api, requeue: Callable[[], None]
) -> None:
    ann = sit_down(browser, "Ann", chat.page)
    for body in ("one", "poison", "three"):
        api.message(chat.path, body)
    ann.until(ann.bodies, ["one", "three"])
    requeue()
    ann.until(ann.bodies, ["one", "poison", "three"])
    assert ann.numbers() == [1, 2, 3]
