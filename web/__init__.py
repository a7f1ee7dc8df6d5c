"""What both services share of HTTP: fields, problems, request ids, logs; and their server."""
