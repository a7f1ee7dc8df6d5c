"""Wake-ups that cannot be sent: they do not pile up, and closing does not wait for them."""

import logging
import time

import pytest

from local_stack.ports import LOOPBACK, choose_port
from numbering_service.wake_up import WakeUp


@pytest.fixture
def wake_up() -> WakeUp:
    return WakeUp(f"redis://{LOOPBACK}:{choose_port()}/0")


def test_wake_ups_do_not_pile_up_while_the_broker_is_unavailable(
    wake_up: WakeUp, caplog: pytest.LogCaptureFixture
) -> None:
    """Of each shard, one may be on its way and one may wait behind it."""
    with caplog.at_level(logging.WARNING, "numbering_service.wake_up"):
        for _ in range(50):
            wake_up(0, "request")
            wake_up(1, "request")
        started = time.monotonic()
        wake_up.close()
    # Three at most, if this thread gets to run; each of the hundred takes a fifth of a second.
    assert len([it for it in caplog.records if "not sent" in it.message]) < 20
    assert time.monotonic() - started < 10
