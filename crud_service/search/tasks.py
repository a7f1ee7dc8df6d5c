"""The search part's Celery task."""

from celery import Task, shared_task

from contract.tasks import INDEX_PENDING, REQUEST_ID_HEADER
from crud_service.chat.worker_redis import worker_redis
from crud_service.search import indexer


@shared_task(name=INDEX_PENDING, bind=True, ignore_result=True)
def index_pending(self: "Task[[], None]") -> None:
    """There is something to index."""
    indexer.index_pending(worker_redis(), woken_by=self.request.get(REQUEST_ID_HEADER) or "")
