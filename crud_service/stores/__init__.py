"""Connections to PostgreSQL and Redis for API requests."""
