"""Searches, by Elasticsearch or by PostgreSQL."""
