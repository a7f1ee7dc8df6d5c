"""The Celery app: its queues, and how it holds on to a broker that comes and goes.

Whoever sends a task imports it; what only a worker needs is added in `worker`.
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
    INDEX_PENDING,
    INDEX_QUEUE,
    PERSIST_ACCEPTED,
    PERSIST_QUEUE,
)


class SteadyConnection(Connection):
    """Tries to reach a broker that is away once a second.

    Celery would pause for two seconds more each time, up to thirty, and that
    long nothing would be stored although Redis is back.
    """

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        steady = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super().ensure_connection(*args, **{**options, **steady})


class SteadyAMQP(AMQP):
    Connection = SteadyConnection


app = Celery("worker", broker=settings.REDIS_URL, amqp=SteadyAMQP)
app.conf.update(
    include=["crud_service.worker.tasks"],
    task_routes={
        PERSIST_ACCEPTED: {"queue": PERSIST_QUEUE},
        INDEX_PENDING: {"queue": INDEX_QUEUE},
    },
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    # Tasks are taken the moment they come; how long to ask for one at a time only costs.
    broker_transport_options={**BROKER_TRANSPORT_OPTIONS, "polling_interval": 2},
    broker_connection_timeout=3,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # for ever
    # No limit: a wake-up that is taken and cannot be acknowledged, since Redis died, would
    # count against one for good, and with it the loss of the connection goes unnoticed.
    worker_prefetch_multiplier=0,
    # After a lost connection Celery would take fewer tasks until the running
    # ones end; ours run for as long as there is work.
    worker_enable_prefetch_count_reduction=False,
    # Concerns late acknowledgement only, which ours do without; unset, it warns.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    # Nothing here asks workers questions: without it no idle chatter on the broker.
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)
