"""Connections to PostgreSQL and Redis on the path of a request."""
