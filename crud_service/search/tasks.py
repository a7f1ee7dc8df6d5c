"""The search part's Celery task."""

from celery import Task, shared_task

from contract.tasks import INDEX_PENDING, REQUEST_ID_HEADER
from crud_service.chat.lease import INDEXING, Lease
from crud_service.chat.worker_redis import lease_redis, worker_redis
from crud_service.search import indexer


@shared_task(name=INDEX_PENDING, bind=True, ignore_result=True)
def index_pending(self: "Task[[], None]") -> None:
    """Index for as long as this worker runs, unless another one does."""
    lease = Lease(lease_redis(), INDEXING, self.request.hostname or "")
    woken_by = self.request.get(REQUEST_ID_HEADER) or ""
    indexer.keep_indexed(worker_redis(), lease, woken_by)
