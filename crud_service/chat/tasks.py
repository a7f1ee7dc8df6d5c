"""The chat part's Celery task."""

from celery import Task, shared_task

from contract.tasks import PERSIST_ACCEPTED, REQUEST_ID_HEADER
from crud_service.chat.drain import drain_accepted
from crud_service.chat.worker_redis import worker_redis


@shared_task(name=PERSIST_ACCEPTED, bind=True, ignore_result=True)
def persist_accepted(self: "Task[[], None]") -> None:
    """There is something to persist."""
    drain_accepted(worker_redis(), woken_by=self.request.get(REQUEST_ID_HEADER) or "")
