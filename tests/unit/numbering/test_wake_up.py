"""Wake-ups that cannot be sent: they do not pile up, and closing does not wait for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

from local_stack.ports import LOOPBACK, choose_port
from numbering_service.wake_up import WakeUp
from tests.polling import wait_until


@pytest.fixture
def wake_up() -> WakeUp:
    return WakeUp(f"redis://{LOOPBACK}:{choose_port()}/0")


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Have each task wait to be sent until the block ends; collect the arguments of all."""
    sent: list[Any] = []
    over = threading.Event()

    def send_task(_celery: Celery, _name: str, args: Any, **_options: Any) -> None:
        sent.append(args)
        over.wait(60)

    monkeypatch.setattr(Celery, "send_task", send_task)
    try:
        yield sent
    finally:
        over.set()


def test_of_each_shard_one_wake_up_waits_behind_the_one_being_sent(
    wake_up: WakeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_up(monkeypatch) as sent:
        wake_up(0, "request")
        wait_until(lambda: len(sent) == 1, 30)
        for _ in range(50):
            wake_up(0, "request")
            wake_up(1, "request")
    wake_up._executor.submit(bool).result(30)  # behind all that wait
    assert len(sent) == 3
    wake_up.close()


def test_closing_drops_what_waits(wake_up: WakeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_up(monkeypatch) as sent:
        wake_up(0, "request")
        wait_until(lambda: len(sent) == 1, 30)
        wake_up(0, "request")
        closing = threading.Thread(target=wake_up.close)
        closing.start()
        # Nothing can be submitted any more.
        wait_until(lambda: is_closed(wake_up), 30)
    closing.join(30)
    assert len(sent) == 1


def is_closed(wake_up: WakeUp) -> bool:
    try:
        wake_up._executor.submit(bool)
    except RuntimeError:
        return True
    return False
