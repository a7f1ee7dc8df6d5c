"""Wake-ups that a worker has received but cannot acknowledge."""

import time

import pytest
import redis
from celery import Celery

from contract.tasks import INDEX_PENDING, INDEX_QUEUE, PERSIST_ACCEPTED, PERSIST_QUEUE
from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import away
from tests.polling import eventually

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
    """Send a wake-up to each busy child, and wait until both are received."""
    with Celery("tests", broker=stack.environment["REDIS_URL"]) as app:
        for task, queue in ((PERSIST_ACCEPTED, PERSIST_QUEUE), (INDEX_PENDING, INDEX_QUEUE)):
            app.send_task(task, queue=queue)
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as client:
        assert eventually(lambda: client.hlen("unacked"), lambda it: it == 2, 60) == 2
