"""Wake-ups that a worker has received but cannot acknowledge."""

import time

import pytest
import redis
from celery import Celery

from contract.tasks import INDEX_PENDING, INDEX_QUEUE, PERSIST_ACCEPTED, PERSIST_QUEUE
from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import away
from tests.polling import wait_until

pytestmark = pytest.mark.timeout(240)

# Longer than the Redis client retries an acknowledgement.
OUTAGE_SECONDS = 6.0


def test_wake_ups_in_hand_when_valkey_dies_do_not_stop_the_worker(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    """Both children are busy: they receive the wake-ups from the broker but start none."""
    with under_load("kill -9 valkey, wake-ups in hand"):
        send_spare_wake_ups(linked)
        with away(linked, "valkey"):
            time.sleep(OUTAGE_SECONDS)


def send_spare_wake_ups(stack: LinkedStack) -> None:
    """Send a wake-up to each busy child, and wait until both are received.

    A child may hold others already, which were sent while it took over from one that was killed.
    """
    url = stack.environment["REDIS_URL"]
    with redis.Redis.from_url(url) as client, Celery("tests", broker=url) as app:
        held = set(client.hkeys("unacked"))
        for task, queue in ((PERSIST_ACCEPTED, PERSIST_QUEUE), (INDEX_PENDING, INDEX_QUEUE)):
            app.send_task(task, queue=queue)
        wait_until(lambda: len(set(client.hkeys("unacked")) - held) >= 2, 60)
