"""The worker's processes: a parent, a Celery child for each queue, and the sweep."""
