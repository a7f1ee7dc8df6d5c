"""The stores are asked once for all that want to know whether the service is ready."""

import time
from collections.abc import Iterator
from threading import Event

import pytest

from crud_service.monitoring.shared_checks import Checks


@pytest.fixture
def released() -> Iterator[Event]:
    """What a check waits for that hangs; it is set at the end of the test."""
    event = Event()
    yield event
    event.set()


def test_a_check_that_hangs_is_waited_for_once(released: Event) -> None:
    checks = Checks(seconds=0.5)
    answers = {
        "fast": lambda: {"status": "ok"},
        "hung": lambda: {"status": str(released.wait(60))},
    }
    started = time.monotonic()
    for _ in range(100):
        found = checks.run(answers)
        assert {name: each["status"] for name, each in found.items()} == {
            "fast": "ok",
            "hung": "unavailable",
        }
    assert time.monotonic() < started + 20  # 50 s, if each waited for it


def test_a_check_that_hung_is_asked_again_once_it_has_ended(released: Event) -> None:
    checks = Checks(seconds=0.01)
    late = checks.run({"store": lambda: {"status": str(released.wait(60))}})
    assert late == {"store": {"status": "unavailable", "latency_ms": 10.0}}
    released.set()
    started = time.monotonic()
    while checks.run({"store": lambda: {"status": "ok"}})["store"]["status"] != "ok":
        assert time.monotonic() < started + 30
