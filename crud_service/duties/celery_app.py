"""The Celery app: its queues, and how it reconnects to the broker.

Every sender of tasks imports it; `worker` adds what only a worker needs.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
# Celery would run Django's checks, which import every URL and view of the HTTP
# service; the HTTP service runs them itself, at its own start.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from django.conf import settings
from kombu import Connection

from contract.tasks import (
    BROKER_TRANSPORT_OPTIONS,
    EXPIRES_SECONDS,
    REQUEST_ID_HEADER,
    persisting_arguments,
)
from crud_service.duties.lease import Duty


class SteadyConnection(Connection):
    """Retries an unavailable broker once a second.

    Celery's back-off grows by two seconds each time, up to thirty: for that long
    nothing would be stored although Redis is available again.
    """

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        steady = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super().ensure_connection(*args, **{**options, **steady})


class SteadyAMQP(AMQP):
    Connection = SteadyConnection


app = Celery("worker", broker=settings.BROKER_URL, amqp=SteadyAMQP)
app.conf.update(
    include=["crud_service.worker.tasks"],
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    # Tasks are received the moment they are sent, whatever the interval: a short one only costs.
    broker_transport_options={**BROKER_TRANSPORT_OPTIONS, "polling_interval": 2},
    broker_connection_timeout=3,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # without limit
    # A broker that became a replica answers with an error, on a connection that stays open. Celery
    # would end, and its process only with the task that runs for as long as there is work.
    broker_channel_error_retry=True,
    # No limit: a wake-up that was received but cannot be acknowledged, because Redis died, would
    # count against it permanently, and the loss of the connection would go unnoticed.
    worker_prefetch_multiplier=0,
    # After a lost connection Celery would prefetch fewer tasks until the running
    # ones end; ours run for as long as there is work.
    worker_enable_prefetch_count_reduction=False,
    # Only affects late acknowledgement, which we do not use; Celery warns if it is unset.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    # We use no remote control, and disabling it avoids idle traffic on the broker.
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


def send_task(duty: Duty, request_id: str = "") -> None:
    """Send a duty's task to its queue, with the id of the request that caused it."""
    app.send_task(
        duty.task,
        args=persisting_arguments(duty.shard.number),
        queue=duty.queue,
        headers={REQUEST_ID_HEADER: request_id},
        expires=EXPIRES_SECONDS,
        retry=False,
    )
