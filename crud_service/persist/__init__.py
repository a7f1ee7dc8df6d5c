"""Moves accepted entries from the stream `accepted` to PostgreSQL."""
