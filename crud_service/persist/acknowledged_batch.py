"""Waits until a batch survives the loss of Redis's primary, before it is stored.

While there is none, checks that the server is still the primary of its replicas.

An entry that the primary alone has is lost when a replica is promoted, and its number is handed
out again. Had it been stored meanwhile, the second creation would be in conflict with it.
"""

from redis import Redis
from redis.client import Pipeline

from crud_service.duties.lease import Lease
from crud_service.persist.accepted import Batch
from crud_service.stores.replicated_writes import (
    WORKER_WAIT_MS,
    NotAcknowledgedError,
    write_acknowledged,
)


def wait_for_replicas(redis: Redis, lease: Lease, batch: Batch) -> None:
    """Wait until replicas have a batch on disk; raises NotAcknowledgedError.

    The write that is waited for renews the lease. The connection may have been opened again since
    a page of the batch was read, and lead to another server. If that server has the page's last
    entry, it has the entries before it, too: a replica has a prefix of what its primary had.

    Args:
        redis: where the batch was read.
        lease: the lease on persisting.
        batch: what is about to be stored.
    """

    def write(pipeline: Pipeline) -> None:
        lease.take_with(pipeline)
        for entry_id, _ in batch.page_ends:
            pipeline.xrange(lease.duty.waiting, entry_id, entry_id)

    is_held, *found = write_acknowledged(redis, write, WORKER_WAIT_MS)
    if not is_held:
        raise NotAcknowledgedError("The lease was lost before a batch was acknowledged.")
    if found != [[end] for end in batch.page_ends]:
        raise NotAcknowledgedError("A batch was acknowledged by a server that does not have it.")


def check_replicas(redis: Redis, lease: Lease) -> None:
    """Renew the lease with a write that replicas acknowledge; raises NotAcknowledgedError.

    A former primary that lost its replicas, and is alive, answers blocking reads and renewals
    indefinitely, while entries arrive at the one that was promoted. Both clients close what they
    have open to it and do not use at the moment.
    """
    try:
        [is_held] = write_acknowledged(redis, lease.take_with, WORKER_WAIT_MS)
    except NotAcknowledgedError:
        lease.leave_server()
        raise
    if not is_held:
        raise NotAcknowledgedError("The lease was lost where entries are waited for.")
