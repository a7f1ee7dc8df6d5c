"""The chat part's Celery task."""

from celery import Task, shared_task

from contract.tasks import PERSIST_ACCEPTED, REQUEST_ID_HEADER
from crud_service.chat.drain import persist_accepted as persist
from crud_service.chat.lease import PERSISTING, Lease
from crud_service.chat.worker_redis import lease_redis, worker_redis


@shared_task(name=PERSIST_ACCEPTED, bind=True, ignore_result=True)
def persist_accepted(self: "Task[[], None]") -> None:
    """Persist for as long as this worker runs, unless another one does."""
    lease = Lease(lease_redis(), PERSISTING, self.request.hostname or "")
    persist(worker_redis(), lease, woken_by=self.request.get(REQUEST_ID_HEADER) or "")
