"""Celery's process: a parent, a child for each queue, and the sweep."""
