"""From the stream `accepted` to PostgreSQL."""
