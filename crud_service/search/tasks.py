"""The search part's Celery task."""

from celery import shared_task

from contract.tasks import INDEX_PENDING
from crud_service.chat.worker_redis import worker_redis
from crud_service.search import indexer


@shared_task(name=INDEX_PENDING, ignore_result=True)
def index_pending() -> None:
    """There is something to index."""
    indexer.index_pending(worker_redis())
