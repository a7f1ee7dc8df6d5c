"""What both duties of a worker share: leases, the stop flag, the Celery app."""
