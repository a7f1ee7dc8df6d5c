"""The Celery tasks: thin, each calls the function that does the duty."""

from celery import Task, shared_task

from contract.tasks import INDEX_PENDING, PERSIST_ACCEPTED, REQUEST_ID_HEADER
from crud_service.duties.lease import Lease, indexing, persisting
from crud_service.erase.eraser import erasing
from crud_service.persist.drain import persist_accepted as persist
from crud_service.search.feed import indexer
from crud_service.stores.redis_clients import lease_redis, shards, worker_redis


@shared_task(name=PERSIST_ACCEPTED, bind=True)
def persist_accepted(self: "Task[[int], None]", shard: int = 0) -> None:
    lease = Lease(lease_redis(shard), persisting(shards()[shard]), self.request.hostname or "")
    persist(worker_redis(shard), lease, woken_by=self.request.get(REQUEST_ID_HEADER) or "")


@shared_task(name=INDEX_PENDING, bind=True)
def index_pending(self: "Task[[], None]") -> None:
    first = shards().first
    lease = Lease(lease_redis(first.number), indexing(first), self.request.hostname or "")
    woken_by = self.request.get(REQUEST_ID_HEADER) or ""
    indexer.keep_indexed(worker_redis(first.number), lease, woken_by, beside=erasing)
