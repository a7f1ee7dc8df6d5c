"""From the HTTP server to Django: the threads, and whose turn it is."""
