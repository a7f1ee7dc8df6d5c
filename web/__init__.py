"""The HTTP server of both services: whole requests in, answers or streams out."""
