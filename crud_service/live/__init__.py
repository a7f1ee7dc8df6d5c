"""Streams of what changes, and lists that wait for it, on the event loop."""
