"""Between the HTTP server and Django: thread pools and fair scheduling."""
