"""Whole applications as files: exported over HTTP, imported by a management command."""
