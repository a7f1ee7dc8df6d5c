"""What both duties of a worker share: leases, the Celery app, the stop flag."""
