"""The HTTP server: whole requests in, answers out."""
