"""What the feed writes and queries read: blocks in PostgreSQL, the index in Elasticsearch."""
