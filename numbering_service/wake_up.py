"""Wakes a worker through Celery when there is something to persist."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from celery import Celery

from contract.tasks import (
    BROKER_TRANSPORT_OPTIONS,
    EXPIRES_SECONDS,
    PERSIST_ACCEPTED,
    PERSIST_QUEUE,
    REQUEST_ID_HEADER,
    persisting_arguments,
)

_log = logging.getLogger(__name__)


class WakeUp:
    """Sends the task `chat.persist_accepted` from a thread, so that the event loop never waits.

    A lost wake-up costs at most a second: the flag that holds back the next one
    expires, and the worker sweeps.
    """

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("numbering", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            broker_transport_options=BROKER_TRANSPORT_OPTIONS,
            broker_connection_timeout=3,
        )
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wake-up")
        # The shards whose next wake-up waits for the thread. A second one would say the same, and
        # they would pile up while the broker is unavailable: sending takes longer then.
        self._queued: set[int] = set()

    def __call__(self, shard: int, request_id: str) -> None:
        """Send the task in the background; a failure is logged and otherwise harmless."""
        if shard not in self._queued:
            self._queued.add(shard)
            self._executor.submit(self._send, shard, request_id).add_done_callback(report)

    def close(self) -> None:
        """Drop what is queued, and wait for the task being sent: no longer than a socket's timeout.

        The sweep makes up for what is dropped.
        """
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._celery.close()

    def _send(self, shard: int, request_id: str) -> None:
        self._queued.discard(shard)
        self._celery.send_task(
            PERSIST_ACCEPTED,
            args=persisting_arguments(shard),
            queue=PERSIST_QUEUE,
            headers={REQUEST_ID_HEADER: request_id},
            expires=EXPIRES_SECONDS,
            # The sweep makes up for it.
            retry=False,
        )
        _log.info("worker woken", extra={"request_id": request_id})


def report(sent: "Future[None]") -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        _log.warning("wake-up not sent: %s", error)
