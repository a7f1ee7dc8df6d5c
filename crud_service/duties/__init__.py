"""What both duties of a worker share: leases, the Celery app, the Redis client, the stop flag."""
