"""What both services must agree on: keys, entries, tasks, paths and internal endpoints.

Standard library only, and nothing of either service: this package is the
boundary between them, so each may be built, tested and shipped alone.
"""
